"""Files like those with which llama.cpp tests its reader, and the expected result for each.

The cases are those of tests/test-gguf.cpp of llama.cpp at 03f94f1, under the same names, and others
on which its reader and this program could disagree. The files are made by independent code.
"""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

from gguf.constants import GGML_QUANT_SIZES

from tests.container.llama_cpp_reader import DATA, HEADER
from tests.models.builders import (
    ARRAY,
    FORMATS,
    I32,
    STRING,
    U8,
    U32,
    U64,
    Tensor,
    gguf,
    pair,
    string,
)

TAKEN, SHOWN, REFUSED = "taken", "shown", "refused"
"""What this program does: patch it; show it, and refuse to patch it; refuse to open it."""
N_TYPES = 43
"""`GGML_TYPE_COUNT`, ggml/include/ggml.h; a type that no llama.cpp has had up to now."""
SAME_SIZE_IN_GGUF_PY = [kind for kind in GGML_QUANT_SIZES if kind.name not in ("Q8_1", "Q2_0")]


class Case(NamedTuple):
    """A file, what llama.cpp's reader says, and what is said here."""

    name: str
    data: bytes
    llama_cpp_takes: bool
    ours: str
    why: str = ""
    """The reason that this program says something else, with the place in llama.cpp."""
    depth: str = HEADER


def any_value(draw: random.Random, kind: int) -> object:
    """A value of a type, of the bytes of which the most are random."""
    if kind == STRING:
        return draw.randbytes(draw.randrange(64)).replace(b"\0", b"\1")
    if kind == ARRAY:
        element = draw.choice([*FORMATS, STRING])
        return element, [any_value(draw, element) for _ in range(draw.randrange(17))]
    width = struct.calcsize(FORMATS[kind])
    return struct.unpack(f"<{FORMATS[kind]}", draw.randbytes(width))[0]


def any_pairs(draw: random.Random, n: int) -> list[bytes]:
    kinds = [draw.choice([*FORMATS, STRING, ARRAY]) for _ in range(n)]
    return [pair(f"my_key_{i}", kind, any_value(draw, kind)) for i, kind in enumerate(kinds)]


def any_tensors(draw: random.Random, n: int) -> list[Tensor]:
    return [any_tensor(draw, f"my_tensor_{i}") for i in range(n)]


def any_tensor(draw: random.Random, name: str) -> Tensor:
    kind = draw.choice(SAME_SIZE_IN_GGUF_PY)
    n_elements, n_bytes = GGML_QUANT_SIZES[kind]
    n_blocks = draw.randint(1, 10)
    others = [draw.randint(1, 10) for _ in range(draw.randrange(4))]
    n_all = n_blocks
    for dim in others:
        n_all *= dim
    return Tensor(
        name, (n_blocks * n_elements, *others), draw.randbytes(n_all * n_bytes), int(kind)
    )


def whole(seed: int, *more: bytes, alignment: int = 32, n: int = 40) -> bytes:
    """A sound file with pairs and tensors of all types."""
    draw = random.Random(seed)
    pairs = [*any_pairs(draw, n), *more]
    return gguf(pairs, any_tensors(draw, n), alignment=alignment)


def raw_pair(key_n_bytes: int, key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", key_n_bytes) + key + struct.pack("<I", kind) + value


def array_pair(kind: int, count: int, content: bytes = b"") -> bytes:
    return raw_pair(1, b"a", ARRAY, struct.pack("<IQ", kind, count) + content)


def alignment_of(value: int, kind: int = U32) -> bytes:
    return pair("general.alignment", kind, value)


def one(dims: tuple[int, ...], kind: int = 0, **more: int) -> bytes:
    """A file with this tensor alone, and 4 kB of data."""
    return gguf([], [Tensor("odd", dims, bytes(range(256)) * 16, kind, more.get("offset"))])


def with_a_zero(dims: tuple[int, ...]) -> bytes:
    """A file whose first tensor has no elements."""
    return gguf([], [Tensor("zero", dims, offset=0), Tensor("behind", offset=0)])


NO_DATA = "The loader of models refuses it: no data in the file (src/llama-model-loader.h:46-49)."
NO_PADDING = "The loader of models takes it: it asks for no padding behind the last tensor."
OTHER_MACHINE = "A llama.cpp on a machine of that byte order takes it (the same test there)."
OTHER_READER = "GGUF allows it; llama.cpp's `gguf_init_from_reader` does not. It can be looked at."
IMAGES = "Files of image and video models have it (ComfyUI-GGUF); they are told apart by name."
NEWER = "A newer llama.cpp or a fork may know the type; its bytes are copied whole."
CUT_NAMES = (
    "The loader of models refuses it: it sees names up to a zero (src/llama-model-loader.cpp)."
)
NESTED = pair("a", ARRAY, (ARRAY, [(U8, [1])]))
PACKED = gguf([], [Tensor("a", (1,)), Tensor("b", offset=4)])
ALMOST_2_63 = 2**63 - 64
TWICE_2_63 = gguf(
    [], [Tensor("a", (ALMOST_2_63,), b"", 24, 0), Tensor("b", (ALMOST_2_63,), b"", 24, ALMOST_2_63)]
)

HEADERS = (
    Case("HEADER_BAD_MAGIC", b"FUGG" + gguf()[4:], False, REFUSED),
    Case("HEADER_BAD_VERSION_0", gguf(version=0), False, REFUSED),
    Case("HEADER_BAD_VERSION_1", gguf(version=1), False, REFUSED),
    Case("HEADER_BAD_VERSION_FUTURE", gguf(version=4), False, REFUSED),
    Case("HEADER_BAD_N_KV", gguf(n_pairs=2**64 - 1), False, REFUSED),
    Case("HEADER_BAD_N_TENSORS", gguf(n_tensors=2**64 - 1), False, REFUSED),
    Case("HEADER_EMPTY", gguf() + bytes(8), True, TAKEN),
    Case("version 2", gguf(version=2) + bytes(8), True, TAKEN),
    Case("version 65536", gguf(version=65536), False, REFUSED),
    Case("no bytes", b"", False, REFUSED),
    Case("magic alone", b"GGUF", False, REFUSED),
    Case("other byte order", gguf(order=">"), False, TAKEN, OTHER_MACHINE),
)
PAIRS = (
    Case("KV_BAD_KEY_SIZE", gguf([raw_pair(2**64 - 1, b"k", U32, bytes(4))]), False, REFUSED),
    Case("KV_EMPTY_KEY", gguf([pair("", U32, 1)]), False, REFUSED),
    Case("KV_BAD_TYPE", gguf([raw_pair(1, b"k", 13, b"\1")]), False, REFUSED),
    Case("KV_DUPLICATE_KEY", gguf([pair("k", U32, 1), pair("k", U8, 2)]), False, REFUSED),
    Case("KV_BAD_ALIGN", gguf([alignment_of(13)]), False, REFUSED),
    Case("KV_WRONG_TYPE_ALIGN", gguf([alignment_of(32, I32)]), False, REFUSED),
    Case("KV_SUCCESS", gguf(any_pairs(random.Random(1), 100)), True, TAKEN),
    Case("alignment 0", gguf([alignment_of(0)]), False, REFUSED),
    Case("alignment 2^31", gguf([alignment_of(2**31)]), True, TAKEN),
    Case("alignment u64", gguf([alignment_of(32, U64)]), False, REFUSED),
    Case(
        "alignment array", gguf([pair("general.alignment", ARRAY, (U32, [32]))]), False, REFUSED
    ),
    Case("type -1", gguf([raw_pair(1, b"k", 2**32 - 1, bytes(8))]), False, REFUSED),
    Case("array of a bad type", gguf([array_pair(13, 1, b"\1")]), False, REFUSED),
    Case("empty array of a bad type", gguf([array_pair(13, 0)]), False, SHOWN, OTHER_READER),
    Case("empty array", gguf([array_pair(U32, 0)]), True, TAKEN),
    Case("array of arrays", gguf([NESTED]), False, SHOWN, OTHER_READER),
    Case("long array", gguf([array_pair(U32, 2**62, bytes(8))]), False, REFUSED),
    Case("long strings", gguf([array_pair(STRING, 2**61, bytes(8))]), False, REFUSED),
    Case("cut value", gguf([raw_pair(1, b"k", U64, bytes(7))]), False, REFUSED),
    Case("keys with a zero", gguf([pair("k\0a", U8, 1), pair("k\0b", U8, 1)]), True, TAKEN),
    Case("odd boolean", gguf([pair("k", 7, 255)]), True, TAKEN),
    Case("bytes that are no UTF-8", gguf([pair(b"\xff", STRING, b"\xfe\0")]), True, TAKEN),
)  # fmt: skip
TENSORS = (
    Case("TENSORS_BAD_NAME_SIZE", gguf([], [Tensor("n" * 64)]), False, SHOWN, IMAGES),
    Case("TENSORS_BAD_N_DIMS", one((1,) * 5), False, SHOWN, IMAGES),
    Case("TENSORS_BAD_SHAPE", one((2**64 - 1,)), False, REFUSED),
    Case("TENSORS_ZERO_DIM", with_a_zero((8, 0)), True, TAKEN),
    Case("TENSORS_NE_TOO_BIG", one((4 * (2**31 - 1),) * 2), False, REFUSED),
    Case("TENSORS_NBYTES_TOO_BIG", one((1_600_000_000,) * 2, kind=27), False, REFUSED),
    Case("TENSORS_BAD_TYPE", one((8,), kind=N_TYPES), False, TAKEN, NEWER),
    Case("TENSORS_BAD_OFFSET", one((8,), offset=2**64 - 1), False, REFUSED),
    Case("TENSORS_DUPLICATE_NAME", gguf([], [Tensor("n"), Tensor("n")]), False, REFUSED),
    Case("TENSORS_BAD_ALIGN", gguf([alignment_of(13)], [Tensor("n")]), False, REFUSED),
    Case("TENSORS_INCONSISTENT_ALIGN", PACKED, False, REFUSED),
    Case("TENSORS_SUCCESS", whole(2), True, TAKEN),
    Case("TENSORS_CUSTOM_ALIGN", whole(3, alignment_of(1), alignment=1), True, TAKEN),
    Case("header alone", gguf([], [Tensor("n")])[:-32], True, REFUSED, NO_DATA),
    Case("name of 63 bytes", gguf([], [Tensor("n" * 63)]), True, TAKEN),
    Case("names with a zero", gguf([], [Tensor("n\0a"), Tensor("n\0b")]), True, REFUSED, CUT_NAMES),
    Case("no name", gguf([], [Tensor("")]), True, TAKEN),
    Case("no dimensions", gguf([], [Tensor("n", ())]), True, TAKEN),
    Case("negative beside zero", with_a_zero((2**63, 0)), False, REFUSED),
    Case("overflow to zero", gguf([], [Tensor("n", (2**32, 2**32))]), False, REFUSED),
    Case("type -1", one((8,), kind=2**32 - 1), False, TAKEN, NEWER),
    Case("type of the past", one((32,), kind=4), False, TAKEN, NEWER),
    Case("half a row", one((31,), kind=2), False, REFUSED),
    Case("gap", gguf([], [Tensor("a"), Tensor("b", offset=64)]), False, REFUSED),
    Case("overlap", gguf([], [Tensor("a"), Tensor("b", offset=0)]), False, REFUSED),
)  # fmt: skip
READ_DATA = (
    Case("DATA_NOT_ENOUGH_DATA", gguf([], [Tensor("n")])[:-1], False, REFUSED),
    Case("DATA_BAD_ALIGN", gguf([alignment_of(13)], [Tensor("n")]), False, REFUSED),
    Case("DATA_INCONSISTENT_ALIGN", PACKED, False, REFUSED),
    Case("DATA_MEM_SIZE_OVERFLOW", TWICE_2_63, False, REFUSED),
    Case("DATA_SUCCESS", whole(4), True, TAKEN),
    Case("DATA_CUSTOM_ALIGN", whole(5, alignment_of(1), alignment=1), True, TAKEN),
    Case("bytes behind the data", whole(6) + bytes(7), True, TAKEN),
    Case("no padding", gguf([], [Tensor("n", (7,), bytes(28))])[:-4], False, TAKEN, NO_PADDING),
)  # fmt: skip
CASES = (
    *HEADERS,
    *PAIRS,
    *TENSORS,
    *(case._replace(depth=DATA) for case in READ_DATA),
    *(Case(f"random {seed}", whole(seed, n=256), True, TAKEN, depth=DATA) for seed in range(7, 10)),
)


MOST = 1 << 30
"""Bytes of a string and elements of an array that llama.cpp reads (ggml/src/gguf.cpp:18-19)."""
TOO_LONG = {
    "key": gguf([struct.pack("<Q", MOST + 1)], n_pairs=1),
    "string": gguf([string("k") + struct.pack("<IQ", STRING, MOST + 1)]),
    "string in an array": gguf([string("k") + struct.pack("<IIQQ", ARRAY, STRING, 1, MOST + 1)]),
    "array": gguf([string("k") + struct.pack("<IIQ", ARRAY, U8, MOST + 1)]),
}
"""Files up to where something too long starts; the rest can be a hole."""
