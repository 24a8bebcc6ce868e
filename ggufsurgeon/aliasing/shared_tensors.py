"""Which tensors of a planned file are tensors of its source, byte for byte. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from ggufsurgeon.container.codec import parse_header
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.header import TensorInfo
from ggufsurgeon.container.layout import lay_out
from ggufsurgeon.write_plan import CopySpan, Span, WritePlan, ZeroSpan


class PlannedTensor(NamedTuple):
    """A tensor of the planned file."""

    name: str
    shared_with: str | None
    """The tensor of the source that it is a copy of; None when a plan makes its data."""
    offset_in_file: int
    spans: tuple[Span, ...]
    """Spans of its data alone."""


def planned_tensors(plan: WritePlan, source: GgufFile) -> Iterator[PlannedTensor]:
    """The tensors of the file that `plan` writes from `source`, its only source."""
    header, header_n_bytes = parse_header(plan.header, str(source.path))
    layout = lay_out(header, header_n_bytes, plan.n_bytes, str(source.path))
    originals = _by_place(source)
    starts = list(accumulate((span.n_bytes for span in plan.spans), initial=len(plan.header)))
    for info, n_bytes in zip(header.tensors, layout.tensor_n_bytes, strict=True):
        offset = layout.data_start + info.offset_in_data
        spans = tuple(_between(plan.spans, starts, offset, offset + n_bytes))
        yield PlannedTensor(info.name, _original(info, spans, originals), offset, spans)


def n_bytes_made(plan: WritePlan, source: GgufFile) -> int:
    """Bytes of weights that an aliased model has besides those of its loaded source."""
    made = (tensor for tensor in planned_tensors(plan, source) if tensor.shared_with is None)
    return sum(span.n_bytes for tensor in made for span in tensor.spans)


def _by_place(source: GgufFile) -> dict[tuple[int, int], TensorInfo]:
    """The source's tensors by their offset in the file and their size."""
    sizes = source.layout.tensor_n_bytes
    return {
        (source.offset_in_file(index), sizes[index]): info
        for index, info in enumerate(source.header.tensors)
    }


def _original(
    info: TensorInfo, spans: tuple[Span, ...], originals: dict[tuple[int, int], TensorInfo]
) -> str | None:
    if len(spans) != 1 or not isinstance(spans[0], CopySpan):
        return None
    original = originals.get((spans[0].offset_in_file, spans[0].n_bytes))
    if original is None or (original.type_id, original.dims) != (info.type_id, info.dims):
        return None
    return original.name


def _between(spans: tuple[Span, ...], starts: list[int], start: int, end: int) -> Iterator[Span]:
    """The spans that lie from `start` to `end` in the planned file; copies and zeros are cut."""
    for index in range(max(bisect_right(starts, start) - 1, 0), len(spans)):
        if starts[index] >= end:
            return
        span, skipped = spans[index], max(start - starts[index], 0)
        n_bytes = min(end - starts[index], span.n_bytes) - skipped
        if isinstance(span, CopySpan):
            yield CopySpan(span.source, span.offset_in_file + skipped, n_bytes)
        elif isinstance(span, ZeroSpan):
            yield ZeroSpan(n_bytes)
        else:  # it is data of one tensor
            yield span
