"""The original of a patched file, from its provenance alone: law 6, before there is a verb for it.

Shares no code with planning: it shows that what a patched file says is enough.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace

from ggufsurgeon.container.codec import parse_header, serialize_header
from ggufsurgeon.container.header import Header, KeyValue, TensorInfo


def restored(data: bytes) -> bytes:
    """The bytes of the source file."""
    header, n_bytes = parse_header(data, "patched")
    alignment = header.alignment
    data_start = -(-n_bytes // alignment) * alignment
    first = _first_positions(str(header.get("layer_path.blocks")))
    kept = [t for t in header.tensors if _block(t) is None or _block(t) in first]
    tensors = tuple(replace(t, name=_rename(t, first)) for t in kept)
    original = serialize_header(Header(header.version, header.byte_order, _pairs(header), tensors))
    padding = bytes(-len(original) % alignment)
    return _join(data, original + padding, data_start, header, kept)


def _join(
    data: bytes, start: bytes, data_start: int, header: Header, kept: list[TensorInfo]
) -> bytes:
    """Kept tensors come first and were not moved; what followed the data is at the end."""
    n_bytes = header.get("layer_path.source_n_bytes")
    assert isinstance(n_bytes, int)
    offsets = [t.offset_in_data for t in header.tensors] + [_data_end(data, header)]
    n_kept = offsets[len(kept)]
    body = data[data_start : data_start + n_kept]
    n_tail = n_bytes - len(start) - n_kept
    return (start + body + (data[len(data) - n_tail :] if n_tail > 0 else b""))[:n_bytes]


def _data_end(data: bytes, header: Header) -> int:
    last = header.tensors[-1]
    n_elements = 1
    for dim in last.dims:
        n_elements *= dim
    alignment = header.alignment
    return -(-(last.offset_in_data + 4 * n_elements) // alignment) * alignment


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
    return (*in_place, *gone)


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
