"""Scales of single weights in every architecture, held against multiplied weights. A program.

    python -m tests.verification.factors MODEL ...

A MODEL is the stem of a header in fixtures/arch_headers, with variants behind it. Prints one JSON
line for each: what the scales of weights that can have a factor do, in pairs of which each weight
has factors of its own. With powers of two, the logits must equal those of a file whose weights were
multiplied, queries and keys with their biases, and differ from those of the model. Then a path with
all factors that the tables allow is written, aliased and routed, and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ggufsurgeon.architectures.strengths import EXACT, EXACT_QUERIES_AND_KEYS
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.context import Integers, Results
from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.layer_path.factors import factors_of
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.rules.blocks import find_blocks
from tests.models.scales import with_scaled_weights, with_scales
from tests.verification.matrix import plain_results
from tests.verification.running import print_examined
from tests.verification.strengths import STRENGTHS, compare_path, prepared

PAIRS = {"queries and keys": ("attn_q", "attn_k"), "outputs": ("attn_output", "ffn_down")}
PARTS = {"ffn_down": ("ffn_down", "ffn_down_exps", "ffn_down_shexp")}
"""The tensors that a factor multiplies, where they are several."""
ABSENT, IGNORED, AS_WEIGHTS, OTHERWISE = "absent", "ignored", "as weights", "otherwise"
FACTORS = (1.0, 0.3, 0.7)

Copy = Callable[[Path, Path, Mapping[int, float], Sequence[str]], Path]


def examine(name: str, folder: Path) -> dict[str, Any]:
    """What scales of single weights do in one model."""
    model, tokens, plain = prepared(name, folder)
    path = _path(model)
    return {
        "model": name,
        "architecture": open_gguf(model).header.architecture,
        "effects": {pair: _effect(model, pair, plain, tokens, folder) for pair in PAIRS},
        "compared": None if path.is_plain else compare_path(model, path, tokens, folder),
    }


def _effect(model: Path, pair: str, plain: Results, tokens: Integers, folder: Path) -> str:
    """What the scales of a pair do, in all blocks that have these weights."""
    file = open_gguf(model)
    blocks = range(find_blocks(file).n_trunk)
    names = {tensor.name for tensor in file.header.tensors}
    if not any(_has(names, block, weight) for block in blocks for weight in PAIRS[pair]):
        return ABSENT
    try:
        scaled = plain_results(_copied(model, pair, with_scales, folder), tokens)
    except MalformedFileError:
        return OTHERWISE
    if np.array_equal(scaled, plain):
        return IGNORED
    multiplied = plain_results(_copied(model, pair, with_scaled_weights, folder), tokens)
    return AS_WEIGHTS if np.array_equal(scaled, multiplied) else OTHERWISE


def _copied(model: Path, pair: str, copy: Copy, folder: Path) -> Path:
    """A copy with factors of both weights of a pair, other ones for each."""
    n_blocks = find_blocks(open_gguf(model)).n_trunk
    for n, weight in enumerate(PAIRS[pair]):
        factors = {block: STRENGTHS[(block + n) % len(STRENGTHS)] for block in range(n_blocks)}
        model = copy(model, folder / f"{weight}.gguf", factors, PARTS.get(weight, (weight,)))
    return model


def _has(names: set[str], block: int, weight: str) -> bool:
    return any(f"blk.{block}.{part}.weight" in names for part in PARTS.get(weight, (weight,)))


def _path(model: Path) -> LayerPath:
    """All blocks, most of them with all factors that the tables allow."""
    file = open_gguf(model)
    names = {tensor.name for tensor in file.header.tensors}
    tables = (EXACT_QUERIES_AND_KEYS, EXACT)
    allowed = [
        weight
        for weights, table in zip(PAIRS.values(), tables, strict=True)
        if file.header.architecture in table
        for weight in weights
    ]
    return LayerPath(
        BlockRef(0, n, factors=factors_of({w: _factor(n, w) for w in allowed if _has(names, n, w)}))
        for n in range(find_blocks(file).n_trunk)
    )


def _factor(block: int, weight: str) -> float:
    return FACTORS[(block + len(weight)) % len(FACTORS)]


if __name__ == "__main__":
    print_examined(examine)
