"""Headers changed: other periods, absent keys, other numbers of blocks."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path

from ggufsurgeon.container.codec import make_pair, parse_header, serialize_header
from ggufsurgeon.container.header import Header, KeyValue, TensorInfo
from ggufsurgeon.container.layout import lay_out, pad
from ggufsurgeon.container.values import ValueType
from ggufsurgeon.planning.blocks import block_of, renumber

PATTERN = "attention.sliding_window_pattern"


def vary(source: Path, variant: str, destination: Path) -> Path:
    """Write the header at `source` with variants: `period=3`, `set=key:3`, `heads=1,blocks=46`."""
    header, _ = parse_header(source.read_bytes(), str(source))
    for one in variant.split(","):
        header = _varied(header, *one.partition("=")[::2])
    raw = serialize_header(header)
    destination.write_bytes(raw + bytes(pad(len(raw), header.alignment) - len(raw)))
    return destination


def _with_number(header: Header, suffix: str, value: int) -> Header:
    key = f"{header.architecture}.{suffix}"
    return _without(header, suffix, make_pair(key, ValueType.UINT32, struct.pack("<I", value), "<"))


def _varied(header: Header, kind: str, value: str) -> Header:
    if kind == "period":
        return _with_number(header, PATTERN, int(value))
    if kind == "set":
        suffix, _, number = value.partition(":")
        return _with_number(header, suffix, int(number))
    if kind == "absent":
        return _without(header, value or PATTERN)
    if kind == "heads":
        return _with_heads(header, int(value))
    return _widened(header, int(value)) if kind == "blocks" else header


def _without(header: Header, suffix: str, *instead: KeyValue) -> Header:
    key = f"{header.architecture}.{suffix}"
    kept = tuple(pair for pair in header.pairs if pair.key != key)
    return replace(header, pairs=(*kept, *instead))


def _with_heads(header: Header, n_heads: int) -> Header:
    """So many heads of queries, keys and values, each of the size that it had."""
    for kind in ("head_count", "head_count_kv"):
        before = header.get(f"{header.architecture}.attention.{kind}")
        key = f"{header.architecture}.attention.{kind}"
        count = make_pair(key, ValueType.UINT32, struct.pack("<I", n_heads), "<")
        header = _without(header, f"attention.{kind}", count)
    assert isinstance(before, int)

    def resized(tensor: TensorInfo) -> TensorInfo:
        name, dims = tensor.name.split(".", 2)[-1], list(tensor.dims)
        which = {"attn_output.weight": 0, "attn_output.bias": None}.get(name, -1)
        if re.fullmatch(r"attn_(q|k|v|output)\.(weight|bias)", name) and which is not None:
            dims[which] = dims[which] // before * n_heads
        return replace(tensor, dims=tuple(dims))

    return _placed(replace(header, tensors=tuple(resized(t) for t in header.tensors)))


def _widened(header: Header, n_blocks: int) -> Header:
    """The same blocks over and over, each with weights of its own."""
    n_before = header.get(f"{header.architecture}.block_count")
    assert isinstance(n_before, int)
    tensors = [tensor for tensor in header.tensors if block_of(tensor.name) is None]
    for block in range(n_blocks):
        alike = [t for t in header.tensors if block_of(t.name) == block % n_before]
        tensors += [replace(tensor, name=renumber(tensor.name, block)) for tensor in alike]
    pairs = tuple(_wider(pair, header, n_before, n_blocks) for pair in header.pairs)
    return _placed(replace(header, pairs=pairs, tensors=tuple(tensors)))


def _wider(pair: KeyValue, header: Header, n_before: int, n_blocks: int) -> KeyValue:
    if pair.key == f"{header.architecture}.block_count":
        return make_pair(pair.key, pair.value_type, struct.pack("<I", n_blocks), "<")
    is_own = pair.key.startswith(f"{header.architecture}.")
    if not is_own or not isinstance(pair.value, list) or len(pair.value) != n_before:
        return pair
    from ggufsurgeon.container.values import take_elements

    indices = [n % n_before for n in range(n_blocks)]
    return make_pair(
        pair.key, pair.value_type, take_elements(pair.raw, pair.value_at, "<", indices), "<"
    )


def _placed(header: Header) -> Header:
    """Consecutive offsets."""
    unplaced = replace(
        header, tensors=tuple(replace(tensor, offset_in_data=0) for tensor in header.tensors)
    )
    offset, placed = 0, []
    for tensor in unplaced.tensors:
        one = replace(header, tensors=(replace(tensor, offset_in_data=0),))
        n_bytes = lay_out(one, 0, 1 << 60, "one").tensor_n_bytes[0]
        placed.append(replace(tensor, offset_in_data=offset))
        offset = pad(offset + n_bytes, header.alignment)
    return replace(header, tensors=tuple(placed))
