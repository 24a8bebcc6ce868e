"""Seed files and texts: small, with the metadata of every architecture."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzzing.fields import Fields
from tests.fuzzing.mending import laid_out, patched, unfilled
from tests.models.builders import (
    ARRAY,
    STRING,
    U8,
    U16,
    U32,
    Tensor,
    block_tensors,
    gguf,
    llama_model,
    llama_pairs,
    pair,
)

HEADERS = Path(__file__).parents[2] / "fixtures/arch_headers"
LARGEST_PAIR = 400
"""Bytes: vocabularies are left out."""
RECIPE = b"""# a comment
recipe: 1
patch: 0..2,1..4 by ggufsurgeon 1.0.0
patch: 0..6 by ggufsurgeon 1.0.0, weights scaled
source-n-bytes: 98570784
source-header-sha256: 4f1e%(sha)s
source-sha256: 9a0b%(sha)s
result-n-bytes: 120321344
result-header-sha256: 77ab%(sha)s
result-sha256: 0c8d%(sha)s
""" % {b"sha": b"0123456789ab" * 5}
YAML = (
    b"""# a comment
slices:
  - sources:
      - model: &M org/one
        layer_range: [0, 8]
        parameters:
          scale:
            - {filter: o_proj, value: 0.5}
            - {filter: down_proj, value: [0.5, 0.5]}
            - value: 1.0
  - sources: [{model: org/two, layer_range: [4, 12]}]
merge_method: passthrough
base_model: *M
tokenizer_source: base
dtype: float16
""",
    b"merge_method: passthrough\nmodels: [{model: {path: a}}]\ntokenizer: {source: union}\n",
    b"name: Duet\nsources: {a: {sha256: %s}, b: }\nlayers: [a:0..5, 'b:4..11*0.5']\noutput: b\n"
    % (b"0123456789abcdef" * 4),
)
LAYERS = (b"0..6,4..29", b"5", b"0,1:1..2,1:1", b" 0..3 , 2 ")
WINDOWS = (b"10:17", b"0:1", b" 4:7 ")


def models() -> Iterator[bytes]:
    """Tiny models of all kinds, and patched ones."""
    extra = (
        pair("general.alignment", U32, 64),
        pair("llama.attention.head_count_kv", ARRAY, (U32, [1, 2, 3])),
        pair("general.tensor_extra.name", ARRAY, (STRING, ["blk.0.ffn.weight"])),
        pair("general.tensor_extra.prec_a4", ARRAY, (U8, [1])),
        pair("llama.nested", ARRAY, (ARRAY, [(U8, [1]), (STRING, ["x"]), (ARRAY, [])])),
        pair("general.parameter_count", U32, 96),
    )
    plain = llama_model(3, *extra[1:2])
    yield gguf([*llama_pairs(3, order=">")], block_tensors(3), order=">", version=2)
    yield gguf(llama_pairs(3, *extra), block_tensors(3), alignment=64)
    yield plain
    once = patched(plain, [0, 1, 1, 2])
    yield once
    yield unfilled(once)
    yield unfilled(patched(unfilled(once), [0, 1, 2, 3, 2, 3]))
    yield unfilled(patched(plain, [0, 2]))
    yield from shards()


def shards() -> tuple[bytes, bytes]:
    """The two shards of a model."""
    tensors = block_tensors(2)
    return _shard(0, llama_pairs(2), tensors[:3]), _shard(1, [], tensors[3:])


def _shard(number: int, pairs: Sequence[bytes], tensors: Sequence[Tensor]) -> bytes:
    split = (
        pair("split.no", U16, number),
        pair("split.tensors.count", 5, 6),
        pair("split.count", U16, 2),
    )
    return gguf([*pairs, *split], tensors)


def architectures() -> Iterator[bytes]:
    """A small model of every architecture: its metadata without the vocabulary, two tensors a
    block, and one of each name outside the blocks."""
    for path in sorted(HEADERS.glob("*.gguf")):
        yield _small(path.read_bytes())


def _small(data: bytes) -> bytes:
    fields = Fields(data)
    pairs = [data[p.start : p.end] for p in fields.pairs if _is_telling(data[p.start : p.end])]
    tensors, seen = [], dict[bytes, int]()
    for item in fields.tensors:
        raw = data[item.start : item.end]
        block = raw[8:].split(b".")[1] if raw[8:].startswith(b"blk.") else raw
        seen[block] = seen.get(block, 0) + 1
        if seen[block] <= 2:
            tensors.append(_shrunk(raw, fields.order))
    counts = struct.pack(f"{fields.order}QQ", len(tensors), len(pairs))
    return laid_out(b"".join((data[:8], counts, *pairs, *tensors)))


def _is_telling(raw: bytes) -> bool:
    """Whether a pair is neither of a vocabulary nor a number that is 0."""
    if len(raw) > LARGEST_PAIR or raw[8:].startswith(b"tokenizer."):
        return False
    return raw[8:].startswith(b"general.") or any(raw[-4:])


def _shrunk(info: bytes, order: str) -> bytes:
    """The info of a tensor of F32 with dimensions of 8 at most."""
    name_end = 8 + struct.unpack_from(f"{order}Q", info)[0]
    n_dims = struct.unpack_from(f"{order}I", info, name_end)[0]
    dims = struct.unpack_from(f"{order}{n_dims}Q", info, name_end + 4)
    small = [min(n, 8) for n in dims]
    start = info[: name_end + 4] + struct.pack(f"{order}{n_dims}Q", *small)
    return start + struct.pack(f"{order}IQ", 0, 0)


def texts() -> Iterator[bytes]:
    """Recipes, layer paths and windows."""
    yield from (RECIPE, *YAML, *LAYERS, *WINDOWS)


def donors() -> tuple[bytes, ...]:
    """All files."""
    return (*models(), *architectures())


def for_target(name: str) -> Iterator[bytes]:
    """What a target begins with."""
    if name in ("recipe", "yaml_recipe", "layers"):
        yield from texts()
        return
    yield from models()
    if name in ("planning", "restoring"):
        yield from architectures()
    if name in ("shards", "diffing"):
        for first in models():
            yield from (first + second for second in models())
