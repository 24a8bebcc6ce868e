"""Writing of one span of a plan, of any kind."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.write_plan import CopySpan, GatherSpan, ScaleSpan, Span, ValueSpan
from ggufsurgeon.writing.span_writers.gathering import gather
from ggufsurgeon.writing.span_writers.scaling import scale
from ggufsurgeon.writing.span_writers.sink import Sink


def write_span(sink: Sink, sources: Sequence[int], span: Span) -> None:
    """Write a span, given the descriptors of the plan's sources."""
    if isinstance(span, CopySpan):
        sink.copy(sources[span.source], span.offset_in_file, span.n_bytes)
    elif isinstance(span, GatherSpan):
        gather(sink, sources[span.source], span)
    elif isinstance(span, ScaleSpan):
        scale(sink, sources[span.source], span)
    elif isinstance(span, ValueSpan):
        sink.write(span.data)
    else:
        sink.write_zeros(span.n_bytes)
