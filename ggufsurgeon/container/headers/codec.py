"""Header bytes to header, and back: `serialize_header(parse_header(data)[0])` is `data`.

Arrays are walked over, not decoded. Every length is checked against the bytes that are there
before it is used, so a hostile file costs neither memory nor time.
"""

from __future__ import annotations

import struct

from ggufsurgeon.container.file_bytes import Buffer
from ggufsurgeon.container.headers.cursor import INCOMPLETE, Cursor
from ggufsurgeon.container.headers.header import Header, KeyValue, TensorInfo
from ggufsurgeon.container.headers.values import (
    ARRAY_PREFIX_N_BYTES,
    SCALAR_WIDTHS,
    VALUE_TYPES,
    ByteOrder,
    ValueType,
    encode_string,
)
from ggufsurgeon.container.other_files.other_formats import recognise
from ggufsurgeon.container.quoting import quoted

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_DIMS = 8
"""Dimensions that are read. ggml has 4 (`GGML_MAX_DIMS`, ggml/include/ggml.h), and no language
model has more; image and video models have 5, and are told apart by their headers."""
MAX_NESTING = 32
"""Levels of arrays in arrays. llama.cpp reads one level; deeper ones are kept all the same."""

WINDOW_N_BYTES = 1 << 20
"""Bytes of an array of strings that are parsed together."""
MOST_BYTES = 1 << 30
"""Bytes of a string that llama.cpp reads (`GGUF_MAX_STRING_LENGTH`, ggml/src/gguf.cpp:18)."""
MOST_ELEMENTS = 1 << 30
"""Elements of an array that it reads (`GGUF_MAX_ARRAY_ELEMENTS`, ggml/src/gguf.cpp:19)."""
MOST_IN_A_DIMENSION = (1 << 63) - 1
"""ggml counts elements in int64_t (`ggml_tensor::ne`, ggml/include/ggml.h)."""

_SMALLEST_PAIR = 8 + 1 + 4 + 1
_SMALLEST_TENSOR_INFO = 8 + 4 + 4 + 8


def parse_header(data: Buffer, path: str) -> tuple[Header, int]:
    """The header at the start of `data`, and its length in bytes.

    `path` is for messages only. Raises MalformedFileError with the offset of what is wrong.
    """
    cursor = Cursor(data, path)
    version, n_tensors, n_pairs = _parse_preamble(cursor)
    pairs = _parse_pairs(cursor, n_pairs)
    tensors = _parse_tensors(cursor, n_tensors)
    return Header(version, cursor.byte_order, pairs, tensors), cursor.at


def parse_pairs(data: bytes, order: ByteOrder, path: str) -> tuple[KeyValue, ...]:
    """Key-value pairs one after another, as a header holds them, up to the end of `data`.

    Raises MalformedFileError, as `parse_header`.
    """
    cursor = Cursor(data, path, order)
    pairs = []
    while cursor.at < len(data):
        pairs.append(_parse_pair(cursor))
    return tuple(pairs)


def serialize_header(header: Header) -> bytes:
    """The bytes of `header`, without the padding before the data section."""
    order = header.byte_order
    counts = (len(header.tensors), len(header.pairs))
    preamble = MAGIC + struct.pack(f"{order}IQQ", header.version, *counts)
    tensors = (serialize_tensor_info(tensor, order) for tensor in header.tensors)
    return b"".join((preamble, *(pair.raw for pair in header.pairs), *tensors))


def serialize_tensor_info(tensor: TensorInfo, order: ByteOrder) -> bytes:
    """The bytes of one tensor info."""
    n_dims = len(tensor.dims)
    fields = (n_dims, *tensor.dims, tensor.type_id, tensor.offset_in_data)
    return encode_string(tensor.name, order) + struct.pack(f"{order}I{n_dims}QIQ", *fields)


def make_pair(key: str, kind: ValueType, value: bytes, order: ByteOrder) -> KeyValue:
    """A new pair from a key and an encoded value."""
    start = encode_string(key, order) + struct.pack(f"{order}I", kind)
    return KeyValue(key, kind, start + value, len(start), order)


def _parse_preamble(cursor: Cursor) -> tuple[int, int, int]:
    magic = cursor.data[: len(MAGIC)]
    if magic != MAGIC:
        found = recognise(cursor.data, cursor.path)
        if found is None:
            raise cursor.fail(f"not a GGUF file: expected {MAGIC!r}, found {magic!r}", 0)
        raise cursor.fail(f"not a GGUF file but {found.what}", 0, hint=found.instead)
    cursor.skip(len(MAGIC), "magic")
    version = cursor.integer(4, "the version")
    if version & 0xFFFF == 0:  # gguf.cpp's test: a small number, read the wrong way round
        cursor.byte_order = ">"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in VERSIONS:
        raise cursor.fail(f"expected GGUF version 2 or 3, found {version}", len(MAGIC))
    return version, cursor.integer(8, "the tensor count"), cursor.integer(8, "the pair count")


def _parse_pairs(cursor: Cursor, count: int) -> tuple[KeyValue, ...]:
    cursor.expect_room(count, _SMALLEST_PAIR, "key-value pairs")
    pairs: dict[str, KeyValue] = {}
    for _ in range(count):
        start = cursor.at
        pair = _parse_pair(cursor)
        if pair.key in pairs:
            raise cursor.fail(f"duplicate key {quoted(pair.key)}", start)
        pairs[pair.key] = pair
        if pair.key == "general.alignment":
            _check_alignment(cursor, pair, start)
    return tuple(pairs.values())


def _parse_pair(cursor: Cursor) -> KeyValue:
    start = cursor.at
    key = _parse_string(cursor, "a key")
    if not key:
        raise cursor.fail("expected a key, found an empty string", start)
    kind = _parse_type(cursor, key)
    value_at = cursor.at
    _skip_values(cursor, kind, 1, key, 0)
    raw = cursor.between(start, cursor.at - start)
    return KeyValue(key, kind, raw, value_at - start, cursor.byte_order)


def _parse_string(cursor: Cursor, what: str) -> str:
    n_bytes = cursor.integer(8, f"the length of {what}")
    start = cursor.at
    raw = cursor.take(n_bytes, what)
    if n_bytes > MOST_BYTES:
        raise cursor.fail(f"{what} is longer than {MOST_BYTES} bytes", start)
    return raw.decode("utf-8", "surrogateescape")


def _parse_type(cursor: Cursor, key: str) -> ValueType:
    start = cursor.at
    number = cursor.integer(4, "the type", key)
    kind = VALUE_TYPES.get(number)
    if kind is None:
        problem = f"the type of {quoted(key)} is {number}, expected 0 to {max(ValueType)}"
        raise cursor.fail(problem, start)
    return kind


def _skip_values(cursor: Cursor, kind: int, count: int, key: str, depth: int) -> None:
    if kind in SCALAR_WIDTHS:
        cursor.skip(count * SCALAR_WIDTHS[kind], "the value", key)
    elif kind == ValueType.STRING:
        _skip_strings(cursor, count, key)
    elif kind == ValueType.ARRAY:
        cursor.expect_room(count, ARRAY_PREFIX_N_BYTES, "arrays", key)
        for _ in range(count):
            _skip_array(cursor, key, depth + 1)
    elif count:  # an empty array may have any element type
        raise cursor.fail(f"{quoted(key)} has elements of the unknown type {kind}", cursor.at)


def _skip_array(cursor: Cursor, key: str, depth: int) -> None:
    if depth > MAX_NESTING:
        raise cursor.fail(f"{quoted(key)} nests arrays more than {MAX_NESTING} deep", cursor.at)
    element_type = cursor.integer(4, "the element type", key)
    count = cursor.integer(8, "the length", key)
    start = cursor.at
    _skip_values(cursor, element_type, count, key, depth)
    if count > MOST_ELEMENTS:
        raise cursor.fail(f"{quoted(key)} has more than {MOST_ELEMENTS} elements", start)


def _skip_strings(cursor: Cursor, count: int, key: str) -> None:
    """Skip a string array. Vocabularies have 300k strings, so that one call per string counts."""
    cursor.expect_room(count, 8, "strings", key)
    end = last = cursor.at
    while count:
        start = end
        n_walked, n_bytes, last_at = _walk_strings(cursor, start, count)
        count, end, last = count - n_walked, start + n_bytes, start + last_at
        if not n_walked or end > len(cursor.data):
            problem = f"a string in {quoted(key)} runs past the end of the file"
            raise cursor.fail(problem, min(last, len(cursor.data)), hint=INCOMPLETE)
        if end - last - 8 > MOST_BYTES:  # longer than a window, so the last one walked in it
            problem = f"a string in {quoted(key)} is longer than {MOST_BYTES} bytes"
            raise cursor.fail(problem, last)
    cursor.at = end


def _walk_strings(cursor: Cursor, start: int, count: int) -> tuple[int, int, int]:
    """How many of `count` strings from `start` on have their length in one window, and where the
    last of these ends and starts, relative to `start`. All are 0 if there is none."""
    window = cursor.data[start : start + WINDOW_N_BYTES]
    read_length = struct.Struct(f"{cursor.byte_order}Q").unpack_from
    n_walked = last = at = 0
    try:
        for n_walked in range(count):  # noqa: B007 - it is what is returned
            n_bytes = read_length(window, at)[0]
            last, at = at, at + 8 + n_bytes
    except (struct.error, OverflowError):
        return n_walked, at, last
    return count, at, last


def _check_alignment(cursor: Cursor, pair: KeyValue, start: int) -> None:
    value = pair.value if pair.value_type == ValueType.UINT32 else None
    if not isinstance(value, int) or value == 0 or value & (value - 1):
        raise cursor.fail(
            f"{pair.key} is {quoted(pair.value)}, expected a power of two as u32", start
        )


def _parse_tensors(cursor: Cursor, count: int) -> tuple[TensorInfo, ...]:
    cursor.expect_room(count, _SMALLEST_TENSOR_INFO, "tensor infos")
    tensors: dict[str, TensorInfo] = {}
    for _ in range(count):
        start = cursor.at
        tensor = _parse_tensor(cursor)
        name = tensor.name.partition("\0")[0]  # ggml keeps names as C strings: no more is compared
        if name in tensors:
            raise cursor.fail(f"duplicate tensor {quoted(tensor.name)}", start)
        tensors[name] = tensor
    return tuple(tensors.values())


def _parse_tensor(cursor: Cursor) -> TensorInfo:
    name = _parse_string(cursor, "a tensor name")
    n_dims = cursor.integer(4, "the dimension count", name)
    if n_dims > MAX_DIMS:
        problem = f"tensor {quoted(name)} has {n_dims} dimensions, expected at most {MAX_DIMS}"
        raise cursor.fail(problem, cursor.at - 4)
    dims_at = cursor.at
    numbers = cursor.numbers(f"{n_dims}QIQ", "the dimensions, type and offset", name)
    dims = numbers[:n_dims]
    if dims and max(dims) > MOST_IN_A_DIMENSION:
        problem = f"tensor {quoted(name)} has a dimension of {max(dims)} elements: too many"
        raise cursor.fail(problem, dims_at)
    return TensorInfo(name, dims, *numbers[n_dims:])
