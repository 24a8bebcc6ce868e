"""Scales in every architecture, held against what a strength means. A program.

    python -m tests.verification.strengths MODEL ...

A MODEL is the stem of a header in fixtures/arch_headers, with variants behind it. Prints one JSON
line for each: whether scales do all that strengths mean, by two laws that share nothing with
planning. Scaled by a power of two, the logits equal those of a file whose weights were multiplied;
scaled by 0, a block equals one that is not there. Where they do, paths with strengths are written,
aliased and routed, and compared.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.context import Integers, Results
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.routing.route import route
from ggufsurgeon.rules.blocks import find_blocks
from tests.calls import patch
from tests.models.expanding import expand_named
from tests.models.scales import with_scaled_weights, with_scales, without_biases
from tests.verification.matrix import N_TOKENS, plain_results, results_of
from tests.verification.running import print_examined

STRENGTHS = (0.5, 0.25, 2.0, 1.0)
"""Powers of two: multiplied weights are then exact."""

N_DROPPED = 3
"""Blocks that are scaled by 0, each in a file of its own."""


def examine(name: str, folder: Path) -> dict[str, Any]:
    """What scales do in one model."""
    model, tokens, plain = prepared(name, folder)
    n_blocks = find_blocks(open_gguf(model)).n_trunk
    strengths = {n: STRENGTHS[n % len(STRENGTHS)] for n in range(n_blocks)}
    scaled = plain_results(with_scales(model, folder / "scaled.gguf", strengths), tokens)
    multiplied = with_scaled_weights(model, folder / "multiplied.gguf", strengths)
    is_multiplied = bool(np.array_equal(scaled, plain_results(multiplied, tokens)))
    return {
        "model": name,
        "architecture": open_gguf(model).header.architecture,
        "ignored": bool(np.array_equal(scaled, plain)),
        "as_weights": is_multiplied,
        "as_dropped": is_multiplied and _is_like_dropped(model, n_blocks, tokens, folder),
        "compared": _compare(model, n_blocks, tokens, folder),
    }


def prepared(name: str, folder: Path) -> tuple[Path, Integers, Results]:
    """A model without biases behind these weights where it loads so, tokens, and their results."""
    model = expand_named(name, folder / "model.gguf")
    tokens = _tokens(name, model)
    if without_biases(model, folder / "plain.gguf"):
        try:
            return folder / "plain.gguf", tokens, plain_results(folder / "plain.gguf", tokens)
        except MalformedFileError:
            pass
    return model, tokens, plain_results(model, tokens)


def _tokens(name: str, model: Path) -> Integers:
    with loaded_model(model, Devices()) as loaded:
        n_vocab = loaded.n_vocab
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.integers(0, n_vocab, N_TOKENS).astype(np.int32)


def _is_like_dropped(model: Path, n_blocks: int, tokens: Integers, folder: Path) -> bool | None:
    """Whether blocks scaled by 0 equal paths without them; None where no path is possible."""
    found: list[bool] = []
    for block in reversed(range(n_blocks)):
        rest = LayerPath.of(n for n in range(n_blocks) if n != block)
        try:
            patch(model, folder / "dropped.gguf", rest, replace=True)
        except RefusedError:
            continue
        silent = with_scales(model, folder / "silent.gguf", {block: 0.0})
        one, other = (plain_results(path, tokens) for path in (silent, folder / "dropped.gguf"))
        found.append(bool(np.array_equal(one, other)))
        if len(found) == N_DROPPED:
            break
    return all(found) if found else None


def _compare(model: Path, n_blocks: int, tokens: Integers, folder: Path) -> list[str]:
    """The outcome of each path with strengths."""
    return [compare_path(model, path, tokens, folder) for path in _paths(n_blocks)]


def compare_path(model: Path, path: LayerPath, tokens: Integers, folder: Path) -> str:
    """`exact`, `exact aliased` where it cannot be routed, wrong, or refused."""
    try:
        patch(model, folder / "patched.gguf", path, replace=True)
    except RefusedError as error:
        return f"refused: {error}"
    written = plain_results(folder / "patched.gguf", tokens)
    with loaded_model(model, Devices()) as source:
        with alias(source, path) as aliased:
            if not np.array_equal(written, results_of(aliased, tokens)):
                return f"wrong: {path} aliased"
        try:
            routed = route(source, path).logits(tokens)
        except RefusedError:
            return "exact aliased"
    return "exact" if np.array_equal(written, routed) else f"wrong: {path} routed"


def _paths(n_blocks: int) -> list[LayerPath]:
    """All blocks with strengths, and a repeat of which both passes have some of their own."""
    middle = n_blocks // 2
    identity = LayerPath(BlockRef(0, n, (1.0, 0.3, 0.5)[n % 3]) for n in range(n_blocks))
    repeated = LayerPath(
        BlockRef(0, n, 0.7 if at >= middle else 0.4 if n == middle - 1 else 1.0)
        for at, n in enumerate([*range(middle), *range(middle - 1, n_blocks)])
    )
    return [identity, repeated]


if __name__ == "__main__":
    print_examined(examine)
