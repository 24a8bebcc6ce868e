"""Re-slicing of tensors that hold a slice for each block, by a layer path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ggufsurgeon.architectures.table import find_architecture
from ggufsurgeon.architectures.vocabulary.slices import Slicing, slicing_of
from ggufsurgeon.container.gguf_file import GgufFile, Place
from ggufsurgeon.planning.new_tensors.tensors import OutputTensor
from ggufsurgeon.rules.blocks import Blocks
from ggufsurgeon.write_plan import CopySpan, GatherSpan, Piece, Span


def reslice(
    file: GgufFile, blocks: Blocks, tensors: Sequence[OutputTensor], path: Sequence[int]
) -> list[OutputTensor]:
    """`tensors`, in which those with a slice for each block get the slices of `path`.

    `path` covers all blocks of the new model; MTP blocks have no slices.
    """
    trunk = [block for block in path if block < blocks.n_trunk]
    dims = find_architecture(file.header.architecture).sliced_dims
    return [
        _resliced(file, tensor, dims[tensor.name], blocks.n_trunk, trunk)
        if tensor.name in dims
        else tensor
        for tensor in tensors
    ]


def _resliced(
    file: GgufFile, tensor: OutputTensor, dim: int, n_slices: int, trunk: Sequence[int]
) -> OutputTensor:
    assert tensor.source_tensor is not None
    info = file.header.tensors[tensor.source_tensor]
    slicing = slicing_of(info, dim, n_slices)
    dims = (*info.dims[:dim], slicing.slice_n_elements * len(trunk), *info.dims[dim + 1 :])
    place = file.place(tensor.source_tensor)
    return replace(tensor, dims=dims, spans=tuple(slice_spans(place, slicing, trunk)))


def slice_spans(place: Place, slicing: Slicing, blocks: Sequence[int]) -> Iterator[Span]:
    """The slices of `blocks`, in every row. A single row needs copies alone."""
    pieces = tuple(_runs(slicing.slice_n_bytes, blocks))
    if slicing.n_rows == 1:
        for piece in pieces:
            yield CopySpan(place.file, place.offset_in_file + piece.offset_in_row, piece.n_bytes)
    else:
        row_n_bytes = slicing.n_slices * slicing.slice_n_bytes
        yield GatherSpan(*place, slicing.n_rows, row_n_bytes, pieces)


def _runs(slice_n_bytes: int, blocks: Sequence[int]) -> Iterator[Piece]:
    """A piece of a row for each run of consecutive blocks."""
    start = 0
    for n in range(1, len(blocks) + 1):
        if n == len(blocks) or blocks[n] != blocks[n - 1] + 1:
            yield Piece(blocks[start] * slice_n_bytes, (n - start) * slice_n_bytes)
            start = n
