"""The tensors of the new file, in order, and the spans that hold their data.

The first occurrence of each block stays where it is in the data section, under its new number;
repeats are appended behind all else. Name order is free in a GGUF, so most of the file is one
extent, and what an upload or a reflink could share stays shareable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import TensorInfo
from ggufsurgeon.container.layout import pad
from ggufsurgeon.container.padding import PaddingRange
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.rules.block_names import block_of, renumber
from ggufsurgeon.rules.blocks import Blocks, first_positions
from ggufsurgeon.rules.whole_models.reader_limits import MAX_NAME_N_BYTES
from ggufsurgeon.write_plan import CopySpan, Span, ZeroSpan

ADDED = TensorInfo("", (), 0, 0)
"""The info that those of added tensors are made from: their type is F32 (`GGML_TYPE_F32`)."""


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of the new file, and the index of the source tensor whose type and data it has."""

    name: str
    source_tensor: int | None
    """None for a tensor that no source has, of F32."""
    dims: tuple[int, ...] | None = None
    """Dimensions in ggml's order; None for those of the source tensor."""
    spans: tuple[Span, ...] | None = None
    """Spans of its data; None for the data of the source tensor."""


def choose_tensors(file: GgufFile, blocks: Blocks, path: Sequence[int]) -> list[OutputTensor]:
    """The tensors of the new file in the order of their data."""
    first = first_positions(path)
    chosen = []
    for index, tensor in enumerate(file.header.tensors):
        block = block_of(tensor.name)
        if block is None:
            chosen.append(OutputTensor(tensor.name, index))
        elif block in first:
            chosen.append(OutputTensor(renumber(tensor.name, first[block]), index))
    for position, block in enumerate(path):
        if first[block] != position:
            for index in blocks.of_block[block]:
                name = renumber(file.header.tensors[index].name, position)
                chosen.append(OutputTensor(name, index))
    _check_names(chosen)
    return chosen


def _check_names(tensors: Sequence[OutputTensor]) -> None:
    for tensor in tensors:
        if len(tensor.name.encode("utf-8", "surrogateescape")) > MAX_NAME_N_BYTES:
            raise RefusedError(
                f"tensor {quoted(tensor.name)} would have a name of more than {MAX_NAME_N_BYTES} "
                "bytes, which llama.cpp does not load"
            )


def place_tensors(file: GgufFile, tensors: Sequence[OutputTensor]) -> tuple[TensorInfo, ...]:
    """Tensor infos with consecutive padded offsets (gguf.cpp:795-817)."""
    placed = []
    offset, alignment = 0, file.header.alignment
    for tensor in tensors:
        info = ADDED if tensor.source_tensor is None else file.header.tensors[tensor.source_tensor]
        dims = info.dims if tensor.dims is None else tensor.dims
        placed.append(TensorInfo(tensor.name, dims, info.type_id, offset))
        offset = pad(offset + _n_bytes(file, tensor), alignment)
    return tuple(placed)


def _n_bytes(file: GgufFile, tensor: OutputTensor) -> int:
    """Size of the data of a tensor, without padding."""
    if tensor.spans is not None:
        return sum(span.n_bytes for span in tensor.spans)
    assert tensor.source_tensor is not None
    return file.layout.tensor_n_bytes[tensor.source_tensor]


def _data(file: GgufFile, tensor: OutputTensor) -> tuple[Span, ...]:
    if tensor.spans is not None:
        return tensor.spans
    assert tensor.source_tensor is not None
    n_bytes = file.layout.tensor_n_bytes[tensor.source_tensor]
    return (CopySpan(*file.place(tensor.source_tensor), n_bytes),)


def data_spans(file: GgufFile, tensors: Sequence[OutputTensor]) -> Iterator[Span]:
    """The spans of the data section, and of whatever follows it in the source."""
    alignment = file.header.alignment
    for tensor in tensors:
        yield from _data(file, tensor)
        n_bytes = _n_bytes(file, tensor)
        n_padding = pad(n_bytes, alignment) - n_bytes
        if not n_padding:
            continue
        n_there = 0
        if tensor.spans is None and tensor.source_tensor is not None:
            # The padding of the source, so that most of the file stays one extent; a file may end
            # before its last padding, and a shard may have another alignment than the whole.
            number, start = file.place(tensor.source_tensor)
            end, there = start + n_bytes, file.files[number]
            n_there = pad(n_bytes, there.header.alignment) - n_bytes
            n_there = min(n_there, n_padding, there.layout.n_bytes - end)
            yield CopySpan(number, end, n_there)
        yield ZeroSpan(n_padding - n_there)
    layout = file.layout
    data_end = layout.data_start + layout.data_n_bytes
    if layout.n_bytes > data_end:
        yield CopySpan(0, data_end, layout.n_bytes - data_end)


def lost_padding(file: GgufFile, tensors: Sequence[OutputTensor]) -> tuple[PaddingRange, ...]:
    """Padding of the source that is not zeros, and that `data_spans` does not copy.

    That behind its header, and behind tensors whose data is not copied as it is.
    """
    lost = {file.header_n_bytes}
    for tensor in tensors:
        index = tensor.source_tensor
        if tensor.spans is not None and index is not None:
            lost.add(file.offset_in_file(index) + file.layout.tensor_n_bytes[index])
    return tuple(found for found in file.odd_padding if found.offset_in_file in lost)
