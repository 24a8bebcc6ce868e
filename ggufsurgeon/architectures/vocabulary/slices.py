"""Tensors that hold a slice for each block in one of their dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit, Model, Rule
from ggufsurgeon.container.ggml_types import type_size
from ggufsurgeon.container.headers.header import TensorInfo
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError


@dataclass(frozen=True)
class Slicing:
    """How a tensor's data is sliced: `n_rows` rows of `n_slices` slices of `slice_n_bytes`."""

    n_rows: int
    n_slices: int
    slice_n_bytes: int
    slice_n_elements: int
    """Along the sliced dimension."""


@dataclass(frozen=True)
class PerLayerSlices(Rule):
    """Tensors outside the blocks with a dimension of so many elements for each of the trunk.

    The slices of the blocks follow one another (src/models/gemma4.cpp:59-60, 376, 482, 517).
    """

    dims: Mapping[str, int]
    """By tensor name: the dimension, in ggml's order."""
    key: str = ""

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal where a tensor cannot be cut into slices."""
        if list(path) != list(range(model.n_blocks)):
            for tensor in model.header.tensors:
                if tensor.name in self.dims:
                    slicing_of(tensor, self.dims[tensor.name], model.n_trunk)
        yield from ()


def slicing_of(tensor: TensorInfo, dim: int, n_slices: int) -> Slicing:
    """How the data of `tensor` is sliced in dimension `dim`.

    Raises RefusedError where its slices are not alike or not whole quantization blocks.
    """
    n_along = tensor.dims[dim] if dim < len(tensor.dims) else 0
    size = type_size(tensor.type_id)
    if not n_along or n_along % n_slices:
        raise RefusedError(
            f"tensor {quoted(tensor.name)} has {n_along} elements in dimension {dim}, which is not "
            f"the same number for each of {n_slices} blocks"
        )
    if size is None:
        raise RefusedError(
            f"tensor {quoted(tensor.name)} holds slices of all blocks, and how large an "
            f"element of its type {tensor.type_id} is is not known to this version"
        )
    n_elements = n_along // n_slices * math.prod(tensor.dims[:dim])
    if n_elements % size.n_elements:
        raise RefusedError(
            f"tensor {quoted(tensor.name)} holds {n_elements} elements for each block, which are "
            f"not whole {size.name} blocks of {size.n_elements}: they cannot be taken apart "
            "exactly",
            hint="With that tensor in a type without blocks, such as F16, they can.",
        )
    n_bytes = n_elements // size.n_elements * size.n_bytes
    return Slicing(math.prod(tensor.dims[dim + 1 :]), n_slices, n_bytes, n_along // n_slices)
