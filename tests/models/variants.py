"""Headers changed: other periods, absent keys, other numbers of blocks, blocks of other sizes."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import make_pair, parse_header, serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue, TensorInfo
from ggufsurgeon.container.headers.values import (
    ValueType,
    encode_array_prefix,
    encode_string,
    take_elements,
)
from ggufsurgeon.container.layout import lay_out, pad
from ggufsurgeon.rules.block_names import block_of, renumber
from tests.conftest import ROOT

PATTERN = "attention.sliding_window_pattern"


NARROWED = {
    "attn_q.weight": 1,
    "attn_q.bias": 0,
    "attn_k.weight": 1,
    "attn_k.bias": 0,
    "attn_v.weight": 1,
    "attn_v.bias": 0,
    "attn_qkv.weight": 1,
    "attn_gate.weight": 1,
    "attn_output.weight": 0,
    "attn_sinks.weight": 0,
}
"""Tensors whose size is in proportion to the number of heads, and in which dimension."""
NARROWED_FFN = {
    "ffn_gate.weight": 1,
    "ffn_gate.bias": 0,
    "ffn_up.weight": 1,
    "ffn_up.bias": 0,
    "ffn_down.weight": 0,
}
OF_VOCABULARY = {
    "token_embd.weight": 1,
    "per_layer_token_embd.weight": 1,
    "output.weight": 1,
    "output.bias": 0,
}
"""Tensors with a row for each word, and in which dimension."""
HEAD_SIZES = ("attention.key_length", "attention.value_length", "rope.dimension_count")


def vary(source: Path, variant: str, destination: Path) -> Path:
    """Write the header at `source` with variants: `period=3`, `set=key:3`, `heads=1&blocks=46`."""
    header, _ = parse_header(source.read_bytes(), str(source))
    for one in variant.split("&"):
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
    if kind == "array":
        suffix, _, numbers = value.partition(":")
        return _with_array(header, suffix, [int(number) for number in numbers.split(",")])
    if kind == "absent":
        return _without(header, value or PATTERN)
    return VARIANTS[kind](header, value) if kind else header


def _with_array(header: Header, suffix: str, values: list[int]) -> Header:
    key = f"{header.architecture}.{suffix}"
    encoded = encode_array_prefix(ValueType.INT32, len(values), "<")
    encoded += struct.pack(f"<{len(values)}i", *values)
    return _without(header, suffix, make_pair(key, ValueType.ARRAY, encoded, "<"))


def _per_block(header: Header, suffix: str) -> list[int]:
    value = header.get(f"{header.architecture}.{suffix}")
    n_blocks = header.get(f"{header.architecture}.block_count")
    assert isinstance(n_blocks, int)
    values = value if isinstance(value, list) else [value] * n_blocks
    return [int(str(n)) for n in values]


def _without_mtp_tensors(header: Header, n_mtp: int) -> Header:
    """The last blocks are counted as MTP blocks, and their tensors are not there."""
    n_blocks = header.get(f"{header.architecture}.block_count")
    assert isinstance(n_blocks, int)
    kept = [t for t in header.tensors if (block_of(t.name) or 0) < n_blocks - n_mtp]
    header = _with_number(header, "nextn_predict_layers", n_mtp)
    return _placed(replace(header, tensors=tuple(kept)))


def _with_mtp_tensors(header: Header, n_mtp: int) -> Header:
    """As many MTP blocks behind the others: attention blocks with what joins them to the trunk.

    As qwen35 loads them (src/models/qwen35.cpp, load_block_mtp).
    """
    n_trunk = header.get(f"{header.architecture}.block_count")
    (n_embd,) = next(t.dims for t in header.tensors if t.name == "output_norm.weight")
    assert isinstance(n_trunk, int)
    queries = (".attn_q.weight", ".attn_q_a.weight", ".attn_qkv.weight")
    attention = [block_of(t.name) for t in header.tensors if t.name.endswith(queries)][-1]
    alike = [
        tensor
        for tensor in header.tensors
        if block_of(tensor.name) == attention and not tensor.name.endswith("scale")
    ]  # it asks for scales in the trunk alone
    joint = {"eh_proj": (2 * n_embd, n_embd), "enorm": (n_embd,), "hnorm": (n_embd,)}
    tensors = list(header.tensors)
    for block in range(n_trunk, n_trunk + n_mtp):
        tensors += [replace(tensor, name=renumber(tensor.name, block)) for tensor in alike]
        tensors += [
            TensorInfo(f"blk.{block}.nextn.{name}.weight", dims, 0, 0)
            for name, dims in joint.items()
        ]
    header = _longer_arrays(header, n_trunk, n_mtp)
    header = _with_number(header, "block_count", n_trunk + n_mtp)
    header = _with_number(header, "nextn_predict_layers", n_mtp)
    return _placed(replace(header, tensors=tuple(tensors)))


def _longer_arrays(header: Header, n_trunk: int, n_mtp: int) -> Header:
    """Arrays with an element for each block, with the last one of them for further blocks too.

    But those with elements for the trunk alone, and with no recurrent block among the others.
    """
    pairs = []
    for pair in header.pairs:
        is_long = isinstance(pair.value, list) and len(pair.value) == n_trunk
        is_of_blocks = pair.key.startswith(f"{header.architecture}.")
        of_trunk = ("glm-dsa.attention.indexer.types", "rope.dimension_sections")
        if is_long and is_of_blocks and not pair.key.endswith(of_trunk):
            indices = [*range(n_trunk), *[n_trunk - 1] * n_mtp]
            raw = take_elements(pair.raw, pair.value_at, "<", indices)
            if pair.key.endswith("recurrent_layers"):
                width = (len(raw) - 12) // (n_trunk + n_mtp)
                raw = raw[: -n_mtp * width] + bytes(n_mtp * width)
            pairs.append(make_pair(pair.key, ValueType.ARRAY, raw, "<"))
        else:
            pairs.append(pair)
    return replace(header, pairs=tuple(pairs))


def _with_tensor_extra(header: Header) -> Header:
    """Every tensor listed, in `general.tensor_extra.*`, every second one for 4-bit activations."""
    names = b"".join(encode_string(tensor.name, "<") for tensor in header.tensors)
    n = len(header.tensors)
    flags = bytes(index % 2 for index in range(n))
    lists = {
        "name": encode_array_prefix(ValueType.STRING, n, "<") + names,
        "prec_a4": encode_array_prefix(ValueType.BOOL, n, "<") + flags,
    }
    pairs = (
        make_pair(f"general.tensor_extra.{key}", ValueType.ARRAY, value, "<")
        for key, value in lists.items()
    )
    return replace(header, pairs=(*header.pairs, *pairs))


def _with_unread_elements(header: Header, suffix: str) -> Header:
    """An array whose first element is right and whose others are not."""
    first, *rest = _per_block(header, suffix)
    return _with_array(header, suffix, [first, *(n + 1 + block for block, n in enumerate(rest))])


def _narrowed(header: Header, ffn: bool) -> Header:
    """Every second block has half the heads, and half the FFN; no key tells the size of a head."""
    axes = NARROWED | NARROWED_FFN if ffn else NARROWED
    tensors = []
    for tensor in header.tensors:
        block = block_of(tensor.name)
        axis = axes.get(tensor.name.partition(".")[2].partition(".")[2])
        if block is not None and block % 2 and axis is not None:
            dims = list(tensor.dims)
            dims[axis] //= 2
            tensor = replace(tensor, dims=tuple(dims))
        tensors.append(tensor)
    header = replace(header, tensors=tuple(tensors))
    for suffix in ("attention.head_count", "attention.head_count_kv", "feed_forward_length"):
        if ffn or suffix != "feed_forward_length":
            whole = _per_block(header, suffix)
            narrow = [n // 2 if block % 2 else n for block, n in enumerate(whole)]
            header = _with_array(header, suffix, narrow)
    for suffix in HEAD_SIZES:
        header = _without(_without(header, suffix), f"{suffix}_swa")
    return _placed(header)


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


def _with_words(header: Header, name: str) -> Header:
    """The vocabulary of another model among the fixtures."""
    path = ROOT / f"fixtures/{name}.gguf"
    words = [pair for pair in open_gguf(path).header.pairs if pair.key.startswith("tokenizer.")]
    n_words = next(len(pair.value) for pair in words if isinstance(pair.value, list))

    def resized(tensor: TensorInfo) -> TensorInfo:
        dims = list(tensor.dims)
        if tensor.name in OF_VOCABULARY:
            dims[OF_VOCABULARY[tensor.name]] = n_words
        return replace(tensor, dims=tuple(dims))

    header = _with_number(header, "vocab_size", n_words)
    pairs = [pair for pair in header.pairs if not pair.key.startswith("tokenizer.")]
    tensors = tuple(resized(tensor) for tensor in header.tensors)
    return _placed(replace(header, pairs=(*pairs, *words), tensors=tensors))


def _without_bos(header: Header) -> Header:
    """Its vocabulary has a BOS, and puts it in front of no text."""
    flag = make_pair("tokenizer.ggml.add_bos_token", ValueType.BOOL, b"\0", "<")
    return replace(header, pairs=(*header.pairs, flag))


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


VARIANTS: dict[str, Callable[[Header, str], Header]] = {
    "blocks": lambda header, value: _widened(header, int(value)),
    "words": _with_words,
    "bosless": lambda header, _: _without_bos(header),
    "heads": lambda header, value: _with_heads(header, int(value)),
    "trunk": lambda header, value: _without_mtp_tensors(header, int(value)),
    "mtp": lambda header, value: _with_mtp_tensors(header, int(value)),
    "extra": lambda header, _: _with_tensor_extra(header),
    "unread": _with_unread_elements,
    "narrow": lambda header, value: _narrowed(header, ffn=value == "ffn"),
}
