"""Tensor types: names and sizes from gguf-py's table, corrected where ggml differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple


class TypeSize(NamedTuple):
    """A block of `n_elements` consecutive elements of a row takes `n_bytes`."""

    name: str
    n_elements: int
    n_bytes: int


OF_GGML = {
    9: TypeSize("Q8_1", 32, 36),
    42: TypeSize("Q2_0", 64, 18),
}
"""Sizes of ggml itself (`block_q8_1`, `block_q2_0`, ggml/src/ggml-common.h) where gguf-py has
another or none: it counts 40 bytes for a block of Q8_1."""


@cache
def _table() -> Mapping[int, TypeSize]:
    from gguf.constants import GGML_QUANT_SIZES  # takes 0.1 s to import: only when it is needed

    theirs = {int(kind): TypeSize(kind.name, *size) for kind, size in GGML_QUANT_SIZES.items()}
    return theirs | OF_GGML


def type_size(type_id: int) -> TypeSize | None:
    """Name and sizes of a type; None when ggml has none of this number."""
    return _table().get(type_id)


def type_name(type_id: int) -> str:
    """ggml's name of a type, or `type-N` for one that ggml does not have."""
    known = _table().get(type_id)
    return known.name if known else f"type-{type_id}"


def tensor_n_bytes(dims: tuple[int, ...], type_id: int) -> int | None:
    """Size of a tensor in bytes; None when its type is not known.

    Raises ValueError when its rows are not whole blocks (gguf.cpp refuses them too).
    """
    known = _table().get(type_id)
    if known is None:
        return None
    row = dims[0] if dims else 1
    if row % known.n_elements:
        raise ValueError(
            f"rows of {row} elements are not whole {known.name} blocks of {known.n_elements}"
        )
    return math.prod(dims) // known.n_elements * known.n_bytes
