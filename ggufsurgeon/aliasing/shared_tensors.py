"""Which tensors of a planned file are tensors of its source, byte for byte. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.header import TensorInfo
from ggufsurgeon.write_plan import CopySpan, Span, WritePlan


class PlannedTensor(NamedTuple):
    """A tensor of the planned file."""

    name: str
    shared_with: str | None
    """The tensor of the source that it is a copy of; None when a plan makes its data."""
    offset_in_file: int
    spans: tuple[Span, ...]
    """Spans of its data alone."""


def planned_tensors(plan: WritePlan, source: GgufFile) -> Iterator[PlannedTensor]:
    """The tensors of the file that `plan` writes from `source` alone."""
    header, layout = plan.parsed
    originals = _by_place(source)
    for info, n_bytes in zip(header.tensors, layout.tensor_n_bytes, strict=True):
        offset = layout.data_start + info.offset_in_data
        spans = tuple(plan.between(offset, offset + n_bytes))
        yield PlannedTensor(info.name, _original(info, spans, originals), offset, spans)


def n_bytes_made(plan: WritePlan, source: GgufFile) -> int:
    """Bytes of weights that an aliased model has besides those of its loaded source."""
    made = (tensor for tensor in planned_tensors(plan, source) if tensor.shared_with is None)
    return sum(span.n_bytes for tensor in made for span in tensor.spans)


def _by_place(source: GgufFile) -> dict[CopySpan, TensorInfo]:
    """The source's tensors by the spans of their data."""
    sizes = source.layout.tensor_n_bytes
    return {
        CopySpan(*source.place(index), sizes[index]): info
        for index, info in enumerate(source.header.tensors)
    }


def _original(
    info: TensorInfo, spans: tuple[Span, ...], originals: dict[CopySpan, TensorInfo]
) -> str | None:
    if len(spans) != 1 or not isinstance(spans[0], CopySpan):
        return None
    original = originals.get(spans[0])
    if original is None or (original.type_id, original.dims) != (info.type_id, info.dims):
        return None
    return original.name
