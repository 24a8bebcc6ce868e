"""Repairing mutated files, so that they pass the first checks and reach the code behind them."""

from __future__ import annotations

import hashlib
import struct

from ggufsurgeon.container.ggml_types import tensor_n_bytes
from ggufsurgeon.container.headers.codec import MAX_DIMS, serialize_header
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.errors import GgufSurgeonError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.new_tensors.slices import reslice
from ggufsurgeon.planning.new_tensors.tensors import choose_tensors, place_tensors
from ggufsurgeon.planning.originals.source_pairs import source_pairs
from ggufsurgeon.planning.planner import Origin, plan_patch
from ggufsurgeon.rules.blocks import find_blocks, first_positions
from tests.fuzzing.fields import Fields
from tests.models.in_memory import opened, run

MOST_DATA_N_BYTES = 1 << 14
TOOL = "ggufsurgeon 1.0.0"
FILLER = b"layer_path.filler"
SIGNATURE = b"layer_path.source_header_sha256"


def laid_out(data: bytes) -> bytes:
    """The file with the offsets that its tensors must have, and with as much data as they need.

    What is in `data` behind the header is kept, as far as there is room. Files whose header cannot
    be walked, or whose tensors are large, stay as they are.
    """
    fields = Fields(data)
    if not fields.is_whole:
        return data
    alignment = _alignment(fields)
    new, at = bytearray(data[: fields.at]), 0
    for item in fields.tensors:
        _, n_dims, *dims = fields.numbers[item.number : item.number + 2 + MAX_DIMS]
        dims = dims[: fields.value(n_dims)]
        kind, offset = fields.numbers[item.number + 2 + len(dims) :][:2]
        new[offset.start : offset.end] = fields.raw(at, offset)
        at = _padded(at + _n_bytes(tuple(map(fields.value, dims)), fields.value(kind)), alignment)
        if at > MOST_DATA_N_BYTES:
            return data
    start = _padded(len(new), alignment) if fields.tensors else len(new)
    content = data[_padded(fields.at, alignment) :]
    return bytes(new.ljust(start, b"\0") + content.ljust(at, b"\x05"))


def _n_bytes(dims: tuple[int, ...], kind: int) -> int:
    try:
        return tensor_n_bytes(dims, kind) or 0
    except ValueError:
        return 0


def _padded(n: int, alignment: int) -> int:
    return n + -n % alignment


def _alignment(fields: Fields) -> int:
    key = b"general.alignment"
    for item in fields.pairs:
        if fields.data[item.start + 8 : item.start + 8 + len(key)] == key:
            raw = fields.data[item.end - 4 : item.end]
            found: int = struct.unpack(f"{fields.order}I", raw)[0]
            return found if 0 < found <= MOST_DATA_N_BYTES else 1
    return 32


def patched(data: bytes, blocks: list[int]) -> bytes:
    """What a patch makes of the file; the file itself where there is none."""
    try:
        return run(
            plan_patch(opened(data), LayerPath.of(blocks), origin=Origin(TOOL, None)).write_plan,
            data,
        )
    except GgufSurgeonError:
        return data


def unfilled(data: bytes) -> bytes:
    """A patched file without the filler of its header, which makes it too large to fuzz with.

    What restores the original does not look at it.
    """
    fields = Fields(data)
    kept = [data[pair.start : pair.end] for pair in fields.pairs]
    kept = [raw for raw in kept if not raw[8:].startswith(FILLER)]
    alignment = _alignment(fields)
    infos = data[fields.tensors[0].start : fields.at] if fields.tensors else b""
    count = struct.pack(f"{fields.order}Q", len(kept))
    header = b"".join((data[:16], count, *kept, infos))
    header = header.ljust(_padded(len(header), alignment) if infos else len(header), b"\0")
    return header + data[_padded(fields.at, alignment) if infos else fields.at :]


def signed(data: bytes) -> bytes:
    """A patched file whose record has the SHA-256 that restoring will find, whatever else it says.

    Anybody can make one. The file itself where it has no record that can be followed.
    """
    if SIGNATURE not in data:
        return data
    at = data.find(SIGNATURE) + len(SIGNATURE) + 4 + 8
    try:
        digest = _digest_of_source(data)
    except GgufSurgeonError:
        return data
    return data[:at] + digest + data[at + len(digest) :]


def _digest_of_source(data: bytes) -> bytes:
    file = opened(data)
    pairs, blocks = source_pairs(file.header, "memory"), find_blocks(file)
    first = first_positions(LayerPath(str(file.header.get("layer_path.blocks"))).blocks)
    positions = [first[block] for block in sorted(first)]
    if max(positions, default=0) >= len(blocks):
        return b""
    tensors = reslice(file, blocks, choose_tensors(file, blocks, positions), positions)
    placed = place_tensors(file, tensors)
    header = Header(file.header.version, file.header.byte_order, pairs, placed)
    return hashlib.sha256(serialize_header(header)).hexdigest().encode()
