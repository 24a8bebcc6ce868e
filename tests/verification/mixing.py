"""Blocks of two models of every architecture: written = routed = aliased, bit for bit. A program.

    python -m tests.verification.mixing [--paths N] MODEL ...

A MODEL is named as in matrix.py. Prints one JSON line for each path: half of them over two models
of as many blocks, the others over one and a second without its last two.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import ggufsurgeon as gs
from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.architectures.outside import ALWAYS_TIED
from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.routing.router import opened_router
from tests.models.second import expand_two
from tests.verification.matrix import N_CTX, N_TOKENS, results_of


def draw_paths(
    n_blocks: tuple[int, int], n_paths: int, rng: np.random.Generator
) -> Iterator[LayerPath]:
    """Interleaved blocks in their order, one model behind the other, and shuffles, in turn."""
    for n in range(n_paths):
        first, second = n_blocks
        if n % 3 == 0:
            sources = rng.permutation([0, 1] * max(n_blocks))[: min(n_blocks)]
            yield LayerPath(BlockRef(int(source), block) for block, source in enumerate(sources))
        elif n % 3 == 1:
            cut, start = int(rng.integers(1, first)), int(rng.integers(0, second))
            yield LayerPath(f"0..{cut - 1},1:{start}..{second - 1}")
        else:
            blocks = [BlockRef(0, b) for b in range(first)] + [
                BlockRef(1, b) for b in range(second)
            ]
            yield LayerPath(blocks[n] for n in rng.permutation(len(blocks))[:first])


def compare(name: str, n_paths: int, folder: Path) -> Iterator[dict[str, Any]]:
    """The status of each path over two models."""
    first, second = expand_two(name, folder)
    shorter = folder / "shorter.gguf"
    n_blocks = gs.open(first).n_blocks
    seconds = [second]
    try:
        gs.open(second).plan(gs.drop((n_blocks - 2, n_blocks))).write(shorter)
        seconds.append(shorter)
    except RefusedError:
        pass
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for other in seconds:
        with loaded_model(first, Devices()) as a, loaded_model(other, Devices()) as b:
            tokens = rng.integers(0, a.n_vocab, N_TOKENS).astype(np.int32)
            for path in draw_paths((a.n_blocks, b.n_blocks), n_paths, rng):
                print(json.dumps({"trying": name, "path": str(path)}), flush=True)
                status, detail = judge((a, b), tokens, path, folder / "patched.gguf")
                found = {"model": name, "architecture": a.architecture, "path": str(path)}
                yield found | {"status": status, "detail": detail, "second": other.stem}


def judge(
    models: tuple[Model, Model], tokens: Integers, path: LayerPath, patched: Path
) -> tuple[str, str]:
    """exact, refused, wrong, unloadable; or not compared."""
    is_tied = models[0].architecture in ALWAYS_TIED
    sources = Sources(models, OutsideBlocks() if is_tied else None)
    try:
        first, second = (gs.open(model.path) for model in models)
        plan = first.plan(path, others=[second], outside=sources.outside)
        plan.write(patched, replace=True)
    except RefusedError as error:
        return "refused", str(error)
    try:
        with loaded_model(patched, Devices()) as model:
            written = results_of(model, tokens)
    except MalformedFileError as error:
        return "unloadable", str(error)
    with alias(sources, path) as aliased:
        difference = float(np.abs(written - results_of(aliased, tokens)).max())
    if difference != 0.0:
        return "wrong", f"greatest difference of the aliased model {difference}"
    with opened_router(sources, N_CTX) as router:
        try:
            routed = next(router.logits(tokens, [path]))
        except RefusedError as error:
            return "not compared", str(error)
    difference = float(np.abs(written - routed).max())
    return ("wrong", f"greatest difference {difference}") if difference else ("exact", "")


def main() -> None:
    """Compare on every model named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--paths", type=int, default=3)
    options = parser.parse_args()
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            for line in compare(name, options.paths, Path(folder)):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
