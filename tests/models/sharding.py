"""Models cut into shards as llama-gguf-split cuts them; shares no code with the program's own."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.container.headers.codec import make_pair, parse_header, serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import ValueType


def split_keys(number: int, count: int, n_tensors: int) -> tuple[KeyValue, ...]:
    return (
        make_pair("split.no", ValueType.UINT16, struct.pack("<H", number), "<"),
        make_pair("split.tensors.count", ValueType.INT32, struct.pack("<i", n_tensors), "<"),
        make_pair("split.count", ValueType.UINT16, struct.pack("<H", count), "<"),
    )


def cut(source: Path, prefix: Path, ends: Sequence[int]) -> list[Path]:
    """Write shards that end before the tensors with these numbers, and the last with the rest.

    Behind the first they have the split keys alone, and so an alignment of 32.
    """
    model = open_gguf(source)
    data = source.read_bytes()
    bounds = [0, *ends, len(model.header.tensors)]
    count = len(bounds) - 1
    paths = []
    for number in range(count):
        keys = split_keys(number, count, len(model.header.tensors))
        pairs = (*model.header.pairs, *keys) if number == 0 else keys
        header = replace(model.header, pairs=pairs, tensors=())
        path = Path(f"{prefix}-{number + 1:05d}-of-{count:05d}.gguf")
        path.write_bytes(_shard(header, model, data, range(bounds[number], bounds[number + 1])))
        paths.append(path)
    return paths


def _shard(header: Header, model: GgufFile, data: bytes, tensors: range) -> bytes:
    content = bytearray()
    infos = []
    for index in tensors:
        start, n_bytes = model.offset_in_file(index), model.layout.tensor_n_bytes[index]
        infos.append(replace(model.header.tensors[index], offset_in_data=len(content)))
        content += data[start : start + n_bytes]
        content += bytes(-len(content) % header.alignment)
    raw = serialize_header(replace(header, tensors=tuple(infos)))
    return raw + bytes(-len(raw) % header.alignment) + bytes(content)


def with_pairs(
    shard: Path, change: Callable[[tuple[KeyValue, ...]], Sequence[KeyValue]], version: int = 3
) -> None:
    """Write a shard with other pairs, under its name; no tensor moves."""
    data = shard.read_bytes()
    header, n_bytes = parse_header(data, str(shard))
    alignment = header.alignment
    raw = serialize_header(replace(header, pairs=tuple(change(header.pairs)), version=version))
    data = data[-(-n_bytes // alignment) * alignment :]
    shard.write_bytes(raw + bytes(-len(raw) % alignment) + data)


def cut_evenly(source: Path, prefix: Path, count: int = 3) -> list[Path]:
    """Shards with about as many tensors each."""
    n_tensors = len(open_gguf(source).header.tensors)
    return cut(source, prefix, [n_tensors * n // count for n in range(1, count)])


def with_alignment(source: Path, destination: Path, alignment: int) -> Path:
    """Write a model whose tensors are aligned to another number of bytes."""
    model = open_gguf(source)
    key = make_pair("general.alignment", ValueType.UINT32, struct.pack("<I", alignment), "<")
    header = replace(model.header, pairs=(*model.header.pairs, key), tensors=())
    tensors = range(len(model.header.tensors))
    destination.write_bytes(_shard(header, model, source.read_bytes(), tensors))
    return destination
