"""Tensor types: names and sizes, from gguf's table."""

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


@cache
def _table() -> Mapping[int, TypeSize]:
    from gguf.constants import GGML_QUANT_SIZES  # takes 0.1 s to import: only when it is needed

    return {int(kind): TypeSize(kind.name, *size) for kind, size in GGML_QUANT_SIZES.items()}


def type_size(type_id: int) -> TypeSize | None:
    """Name and sizes of a type; None when gguf does not know it."""
    return _table().get(type_id)


def type_name(type_id: int) -> str:
    """ggml's name of a type, or `type-N` for one that gguf does not know."""
    known = _table().get(type_id)
    return known.name if known else f"type-{type_id}"


def tensor_n_bytes(dims: tuple[int, ...], type_id: int) -> int | None:
    """Size of a tensor in bytes; None when gguf does not know its type.

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
