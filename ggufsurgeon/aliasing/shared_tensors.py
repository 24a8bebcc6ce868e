"""Which tensors of a planned file are tensors of its sources, byte for byte. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import TensorInfo
from ggufsurgeon.write_plan import CopySpan, Span, WritePlan


class SharedTensor(NamedTuple):
    """A tensor of a source."""

    source: int
    """The index of the model."""
    name: str


class PlannedTensor(NamedTuple):
    """A tensor of the planned file."""

    name: str
    shared_with: SharedTensor | None
    """The tensor of a source that it is a copy of; None when a plan makes its data."""
    offset_in_file: int
    spans: tuple[Span, ...]
    """Spans of its data alone."""


def planned_tensors(plan: WritePlan, sources: Sequence[GgufFile]) -> Iterator[PlannedTensor]:
    """The tensors of the file that `plan` writes from these models, whose files are its sources."""
    header, layout = plan.parsed
    originals = _by_place(sources)
    for info, n_bytes in zip(header.tensors, layout.tensor_n_bytes, strict=True):
        offset = layout.data_start + info.offset_in_data
        spans = tuple(plan.between(offset, offset + n_bytes))
        yield PlannedTensor(info.name, _original(info, spans, originals), offset, spans)


def n_bytes_made(plan: WritePlan, sources: Sequence[GgufFile]) -> int:
    """Bytes of weights that an aliased model has besides those of its loaded sources."""
    made = (tensor for tensor in planned_tensors(plan, sources) if tensor.shared_with is None)
    return sum(span.n_bytes for tensor in made for span in tensor.spans)


_Originals: TypeAlias = dict[CopySpan, tuple[int, TensorInfo]]


def _by_place(sources: Sequence[GgufFile]) -> _Originals:
    """The sources' tensors by the spans of their data."""
    found: _Originals = {}
    first = 0
    for number, model in enumerate(sources):
        sizes = model.layout.tensor_n_bytes
        for index, info in enumerate(model.header.tensors):
            file, offset = model.place(index)
            found[CopySpan(first + file, offset, sizes[index])] = number, info
        first += len(model.files)
    return found


def _original(
    info: TensorInfo, spans: tuple[Span, ...], originals: _Originals
) -> SharedTensor | None:
    if len(spans) != 1 or not isinstance(spans[0], CopySpan):
        return None
    source, original = originals.get(spans[0], (0, None))
    if original is None or (original.type_id, original.dims) != (info.type_id, info.dims):
        return None
    return SharedTensor(source, original.name)
