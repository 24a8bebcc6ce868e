"""GGUF bytes, built by hand: readable at the call site, and sharing no code with the program."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

U8, U16, U32, I32, F32, BOOL, STRING, ARRAY, U64 = 0, 2, 4, 5, 6, 7, 8, 9, 10
FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "B",
    10: "Q",
    11: "q",
    12: "d",
}
F32_TENSOR = 0


class Tensor(NamedTuple):
    """A tensor info and its data; `offset` None means: behind the one before it."""

    name: str
    dims: Sequence[int] = (8,)
    data: bytes = b""
    kind: int = F32_TENSOR
    offset: int | None = None


def string(text: str | bytes, order: str = "<") -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack(f"{order}Q", len(raw)) + raw


def value(kind: int, content: Any, order: str = "<") -> bytes:
    """Content of an array is (element type, list)."""
    if kind == STRING:
        return string(content, order)
    if kind == ARRAY:
        element, items = content
        encoded = b"".join(value(element, item, order) for item in items)
        return struct.pack(f"{order}IQ", element, len(items)) + encoded
    return struct.pack(order + FORMATS[kind], content)


def pair(key: str | bytes, kind: int, content: Any, order: str = "<") -> bytes:
    return string(key, order) + struct.pack(f"{order}I", kind) + value(kind, content, order)


def padding(n: int, alignment: int) -> bytes:
    return bytes(-n % alignment)


def gguf(
    pairs: Sequence[bytes] = (),
    tensors: Sequence[Tensor] = (),
    *,
    version: int = 3,
    order: str = "<",
    alignment: int = 32,
    n_pairs: int | None = None,
    n_tensors: int | None = None,
) -> bytes:
    """A whole file. The counts can be made to lie."""
    infos, data = b"", b""
    for tensor in tensors:
        content = tensor.data or bytes(range(1, 33))
        offset = len(data) if tensor.offset is None else tensor.offset
        infos += string(tensor.name, order) + struct.pack(f"{order}I", len(tensor.dims))
        infos += struct.pack(f"{order}{len(tensor.dims)}Q", *tensor.dims)
        infos += struct.pack(f"{order}IQ", tensor.kind, offset)
        data += content + padding(len(content), alignment)
    counts = (
        len(tensors) if n_tensors is None else n_tensors,
        len(pairs) if n_pairs is None else n_pairs,
    )
    header = b"GGUF" + struct.pack(f"{order}IQQ", version, *counts) + b"".join(pairs) + infos
    return header + (padding(len(header), alignment) + data if tensors else b"")


def block_tensors(n_blocks: int, *, skip: Sequence[int] = ()) -> list[Tensor]:
    """An embedding, two tensors a block with data of their own, and a norm."""
    tensors = [Tensor("token_embd.weight", (8,), bytes([200] * 32))]
    for block in range(n_blocks):
        if block not in skip:
            tensors.append(Tensor(f"blk.{block}.attn_norm.weight", (8,), bytes([block] * 32)))
            tensors.append(Tensor(f"blk.{block}.ffn.weight", (3,), bytes([block, 7, 9] * 4)))
    return [*tensors, Tensor("output_norm.weight", (8,), bytes([201] * 32))]


def llama_pairs(n_blocks: int, *more: bytes, order: str = "<") -> list[bytes]:
    """The least metadata of a `llama` model."""
    return [
        pair("general.architecture", STRING, "llama", order),
        pair("general.name", STRING, "Tiny", order),
        pair("llama.block_count", U32, n_blocks, order),
        *more,
    ]


def llama_model(n_blocks: int, *more: bytes) -> bytes:
    """A whole, though useless, `llama` model of n blocks."""
    return gguf(llama_pairs(n_blocks, *more), block_tensors(n_blocks))


def with_text(data: bytes, key: str, text: str) -> bytes:
    """A little-endian file with one more pair of metadata, first in its header.

    The text gets spaces behind it, so that the tensor data keep their alignment of 32 bytes.
    """
    n_pairs = struct.unpack_from("<Q", data, 16)[0]
    spaces = -len(pair(key, STRING, text)) % 32
    added = pair(key, STRING, text + " " * spaces)
    return data[:16] + struct.pack("<Q", n_pairs + 1) + added + data[24:]
