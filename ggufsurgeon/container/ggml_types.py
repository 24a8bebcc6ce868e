"""Tensor types of ggml: names and sizes."""

from __future__ import annotations

import math
from typing import NamedTuple


class TypeSize(NamedTuple):
    """A block of `n_elements` consecutive elements of a row takes `n_bytes`."""

    name: str
    n_elements: int
    n_bytes: int


F32 = 0
"""`GGML_TYPE_F32`, ggml/include/ggml.h."""
SIZES = {
    0: TypeSize("F32", 1, 4),
    1: TypeSize("F16", 1, 2),
    2: TypeSize("Q4_0", 32, 18),
    3: TypeSize("Q4_1", 32, 20),
    6: TypeSize("Q5_0", 32, 22),
    7: TypeSize("Q5_1", 32, 24),
    8: TypeSize("Q8_0", 32, 34),
    9: TypeSize("Q8_1", 32, 36),
    10: TypeSize("Q2_K", 256, 84),
    11: TypeSize("Q3_K", 256, 110),
    12: TypeSize("Q4_K", 256, 144),
    13: TypeSize("Q5_K", 256, 176),
    14: TypeSize("Q6_K", 256, 210),
    15: TypeSize("Q8_K", 256, 292),
    16: TypeSize("IQ2_XXS", 256, 66),
    17: TypeSize("IQ2_XS", 256, 74),
    18: TypeSize("IQ3_XXS", 256, 98),
    19: TypeSize("IQ1_S", 256, 50),
    20: TypeSize("IQ4_NL", 32, 18),
    21: TypeSize("IQ3_S", 256, 110),
    22: TypeSize("IQ2_S", 256, 82),
    23: TypeSize("IQ4_XS", 256, 136),
    24: TypeSize("I8", 1, 1),
    25: TypeSize("I16", 1, 2),
    26: TypeSize("I32", 1, 4),
    27: TypeSize("I64", 1, 8),
    28: TypeSize("F64", 1, 8),
    29: TypeSize("IQ1_M", 256, 56),
    30: TypeSize("BF16", 1, 2),
    34: TypeSize("TQ1_0", 256, 54),
    35: TypeSize("TQ2_0", 256, 66),
    39: TypeSize("MXFP4", 32, 17),
    40: TypeSize("NVFP4", 64, 36),
    41: TypeSize("Q1_0", 128, 18),
    42: TypeSize("Q2_0", 64, 18),
}
"""The types of ggml (`enum ggml_type`, ggml/include/ggml.h; blocks, ggml/src/ggml-common.h).

gguf-py has a table too, but takes 0.1 s to import, counts 40 bytes for a block of Q8_1, and has no
Q2_0. The numbers that are left out were removed from ggml.
"""


def type_size(type_id: int) -> TypeSize | None:
    """Name and sizes of a type; None when ggml has none of this number."""
    return SIZES.get(type_id)


def type_name(type_id: int) -> str:
    """ggml's name of a type, or `type-N` for one that ggml does not have."""
    known = SIZES.get(type_id)
    return known.name if known else f"type-{type_id}"


def tensor_n_bytes(dims: tuple[int, ...], type_id: int) -> int | None:
    """Size of a tensor in bytes; None when its type is not known.

    Raises ValueError when its rows are not whole blocks (gguf.cpp refuses them too).
    """
    known = SIZES.get(type_id)
    if known is None:
        return None
    row = dims[0] if dims else 1
    if row % known.n_elements:
        raise ValueError(
            f"rows of {row} elements are not whole {known.name} blocks of {known.n_elements}"
        )
    return math.prod(dims) // known.n_elements * known.n_bytes
