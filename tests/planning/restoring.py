"""The original of a patched file, from its record alone.

Shares no code with planning, against which it is held.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import replace

from ggufsurgeon.container.ggml_types import tensor_n_bytes
from ggufsurgeon.container.headers.codec import parse_header, serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue, TensorInfo

SLICED_DIMS = {"per_layer_token_embd.weight": 0, "per_layer_model_proj.weight": 1}
"""Tensors with a slice for each block, and in which dimension."""


def restored(data: bytes) -> bytes:
    """The bytes of the source file."""
    header, n_bytes = parse_header(data, "patched")
    alignment = header.alignment
    data_start = -(-n_bytes // alignment) * alignment
    first = _first_positions(str(header.get("layer_path.blocks")))
    offsets = [t.offset_in_data for t in header.tensors] + [_data_end(header)]
    tensors, body = [], b""
    for tensor, start, end in zip(header.tensors, offsets, offsets[1:], strict=False):
        if _block(tensor) is None or _block(tensor) in first:
            content = data[data_start + start : data_start + end]
            dims, content = _original(header, tensor, content, first)
            name = _rename(tensor, first)
            tensors.append(replace(tensor, name=name, dims=dims, offset_in_data=len(body)))
            body += content
    pairs = _pairs(header)
    original = serialize_header(Header(header.version, header.byte_order, pairs, tuple(tensors)))
    return _join(data, original + bytes(-len(original) % alignment) + body, header)


def _join(data: bytes, start: bytes, header: Header) -> bytes:
    """What followed the data is at the end."""
    n_bytes = header.get("layer_path.source_n_bytes")
    assert isinstance(n_bytes, int)
    n_tail = n_bytes - len(start)
    return (start + (data[len(data) - n_tail :] if n_tail > 0 else b""))[:n_bytes]


def _original(
    header: Header, tensor: TensorInfo, content: bytes, first: dict[int, int]
) -> tuple[tuple[int, ...], bytes]:
    """Dimensions and padded data of a tensor that is no repeat."""
    dim = SLICED_DIMS.get(tensor.name)
    if dim is None:
        return tensor.dims, content
    n_before, n_after = len(first), header.get(f"{header.architecture}.block_count")
    assert isinstance(n_after, int)
    n_along = tensor.dims[dim] // n_after * n_before
    n_rows = math.prod(tensor.dims[dim + 1 :])
    n_bytes = tensor_n_bytes(tensor.dims, tensor.type_id)
    assert n_bytes is not None
    row_n_bytes = n_bytes // n_rows
    rows = [content[row * row_n_bytes :][:row_n_bytes] for row in range(n_rows)]
    width = row_n_bytes // n_after
    position_of = {block: position for position, block in first.items()}
    restored = b"".join(
        row[position_of[block] * width :][:width] for row in rows for block in range(n_before)
    )
    dims = (*tensor.dims[:dim], n_along, *tensor.dims[dim + 1 :])
    return dims, restored + bytes(-len(restored) % header.alignment)


def _data_end(header: Header) -> int:
    last = header.tensors[-1]
    n_bytes = tensor_n_bytes(last.dims, last.type_id)
    assert n_bytes is not None
    return -(-(last.offset_in_data + n_bytes) // header.alignment) * header.alignment


def _pairs(header: Header) -> tuple[KeyValue, ...]:
    raw = header.pair_of["layer_path.replaced_pairs"].value
    assert isinstance(raw, list)
    blob = bytes(int(str(byte)) for byte in raw)
    n_pairs = struct.pack("<4sIQQ", b"GGUF", 3, 0, _count(blob))
    replaced, _ = parse_header(n_pairs + blob, "replaced")
    added = header.get("layer_path.added_keys") or []
    assert isinstance(added, list)
    in_place = [
        replaced.pair_of.get(pair.key, pair)
        for pair in header.pairs
        if pair.key in replaced.pair_of
        or not (pair.key.startswith("layer_path.") or pair.key in added)
    ]
    gone = [pair for pair in replaced.pairs if pair.key not in header.pair_of]
    places = [int(place) for place in str(header.get("layer_path.removed_at")).split(",") if place]
    for place, pair in zip(places, gone, strict=True):
        in_place.insert(place, pair)
    return tuple(in_place)


def _count(blob: bytes) -> int:
    """How many pairs there are: as many as can be read."""
    count = 0
    while True:
        try:
            _, n_bytes = parse_header(struct.pack("<4sIQQ", b"GGUF", 3, 0, count) + blob, "")
        except Exception:
            raise AssertionError("replaced pairs do not parse") from None
        if n_bytes == 24 + len(blob):
            return count
        count += 1


def _first_positions(blocks: str) -> dict[int, int]:
    """Source block of each position at which a block runs for the first time."""
    found: dict[int, int] = {}
    position = 0
    for run in blocks.split(","):
        first, _, last = run.partition("..")
        for block in range(int(first), int(last or first) + 1):
            if block not in found.values():
                found[position] = block
            position += 1
    return found


def _block(tensor: TensorInfo) -> int | None:
    match = re.match(r"blk\.(\d+)\.", tensor.name)
    return int(match[1]) if match else None


def _rename(tensor: TensorInfo, first: dict[int, int]) -> str:
    block = _block(tensor)
    if block is None:
        return tensor.name
    return tensor.name.replace(f"blk.{block}.", f"blk.{first[block]}.", 1)
