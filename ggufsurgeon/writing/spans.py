"""Writing of one span of a plan, of any kind."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.write_plan import CopySpan, GatherSpan, ScaleSpan, Span
from ggufsurgeon.writing.copying import Copier
from ggufsurgeon.writing.gathering import gather
from ggufsurgeon.writing.scaling import scale


def write_span(copier: Copier, sources: Sequence[int], span: Span) -> None:
    """Write a span, given the descriptors of the plan's sources."""
    if isinstance(span, CopySpan):
        copier.copy(sources[span.source], span.offset_in_file, span.n_bytes)
    elif isinstance(span, GatherSpan):
        gather(copier, sources[span.source], span)
    elif isinstance(span, ScaleSpan):
        scale(copier, sources[span.source], span)
    else:
        copier.write_zeros(span.n_bytes)
