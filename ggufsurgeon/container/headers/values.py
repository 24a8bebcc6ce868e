"""Values of key-value pairs: their types, and bytes to Python objects and back."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Literal, TypeAlias

ByteOrder: TypeAlias = Literal["<", ">"]
"""As in `struct`: little or big endian."""

Value: TypeAlias = "int | float | bool | str | list[Value]"


class ValueType(IntEnum):
    """Types of a value (`enum gguf_type`, ggml/include/gguf.h)."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


VALUE_TYPES = {int(kind): kind for kind in ValueType}
"""The types by their numbers: 300,000 pairs are looked up faster here than in the enum."""

SCALAR_FORMATS: dict[int, str] = {
    ValueType.UINT8: "B",
    ValueType.INT8: "b",
    ValueType.UINT16: "H",
    ValueType.INT16: "h",
    ValueType.UINT32: "I",
    ValueType.INT32: "i",
    ValueType.FLOAT32: "f",
    ValueType.BOOL: "?",
    ValueType.UINT64: "Q",
    ValueType.INT64: "q",
    ValueType.FLOAT64: "d",
}
"""`struct` format of every type of fixed width."""

SCALAR_WIDTHS = {kind: struct.calcsize(fmt) for kind, fmt in SCALAR_FORMATS.items()}
"""Bytes that a value of fixed width takes."""

INTEGER_TYPES = frozenset(ValueType) - {
    ValueType.FLOAT32,
    ValueType.FLOAT64,
    ValueType.BOOL,
    ValueType.STRING,
    ValueType.ARRAY,
}

ARRAY_PREFIX_N_BYTES = 4 + 8
"""An array starts with its element type (u32) and element count (u64)."""


def decode_value(kind: ValueType, data: bytes, at: int, order: ByteOrder) -> Value:
    """The value of type `kind` at `data[at:]`, which the header codec has already walked."""
    return _decode(kind, 1, data, at, order)[0][0]


def _decode(
    kind: int, count: int, data: bytes, at: int, order: ByteOrder
) -> tuple[list[Value], int]:
    if kind in SCALAR_FORMATS:
        fmt = f"{order}{count}{SCALAR_FORMATS[kind]}"
        return list(struct.unpack_from(fmt, data, at)), at + struct.calcsize(fmt)
    values: list[Value] = []
    for _ in range(count):
        if kind == ValueType.STRING:
            start = at + 8
            at = start + struct.unpack_from(f"{order}Q", data, at)[0]
            values.append(data[start:at].decode("utf-8", "surrogateescape"))
        else:
            element_type, n = read_array_prefix(data, at, order)
            items, at = _decode(element_type, n, data, at + ARRAY_PREFIX_N_BYTES, order)
            values.append(items)
    return values, at


def read_array_prefix(data: bytes, at: int, order: ByteOrder) -> tuple[int, int]:
    """Element type and element count of the array at `data[at:]`."""
    element_type, count = struct.unpack_from(f"{order}IQ", data, at)
    return element_type, count


def encode_value(kind: ValueType, value: Value, order: ByteOrder) -> bytes:
    """The bytes of a scalar or string. Raises struct.error when it does not fit the type."""
    if kind == ValueType.STRING:
        return encode_string(str(value), order)
    return struct.pack(order + SCALAR_FORMATS[kind], value)


def encode_string(text: str, order: ByteOrder) -> bytes:
    """Length (u64) and UTF-8 bytes; surrogate escapes become the bytes they stand for."""
    encoded = text.encode("utf-8", "surrogateescape")
    return struct.pack(f"{order}Q", len(encoded)) + encoded


def encode_array_prefix(element_type: ValueType, count: int, order: ByteOrder) -> bytes:
    """Element type and element count, as they precede the elements."""
    return struct.pack(f"{order}IQ", element_type, count)


def take_elements(data: bytes, at: int, order: ByteOrder, indices: Sequence[int]) -> bytes:
    """The array of fixed-width elements at `data[at:]`, re-indexed.

    Element i of the result is element `indices[i]`, byte for byte: types and odd booleans stay.
    """
    kind, count = read_array_prefix(data, at, order)
    element = f"{SCALAR_WIDTHS[kind]}s"
    elements = struct.unpack_from(element * count, data, at + ARRAY_PREFIX_N_BYTES)
    picked = map(elements.__getitem__, indices)
    return encode_array_prefix(ValueType(kind), len(indices), order) + b"".join(picked)
