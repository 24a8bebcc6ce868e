"""Every architecture on many layer paths: written = routed = aliased, bit for bit. A program.

    python -m tests.verification.matrix [--paths N] [--naive] MODEL ...

A MODEL is the stem of a header in fixtures/arch_headers, with variants behind it:
`gemma3-dense@period=4`, `gemma2-dense@blocks=46`. Prints one JSON line for each path. llama.cpp
ends the process on some inputs, so tests and scripts run this in one of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.engine.context import Batch, Integers, Results, opened_context
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.route import route
from ggufsurgeon.routing.router import Router, opened_router
from tests.calls import patch
from tests.models.expanding import expand_named
from tests.models.naive import patch_naively

N_TOKENS = 40
"""More than the sliding windows of the headers, which are 32."""
N_CTX = 64
N_PIECE = 10
"""Tokens of a decode, where what one decode keeps for the next is compared."""

FIRST_STAY = {"gemma3n": 20}
"""Blocks that must stay the first ones: the paths are drawn over those behind them."""


def draw_paths(n_blocks: int, n_paths: int, rng: np.random.Generator) -> Iterator[LayerPath]:
    """Repeats, drops, repeats of more than two, and shuffles, in turn, block 0 among them."""
    for n in range(n_paths):
        first, end = sorted(int(k) for k in rng.choice(n_blocks + 1, 2, replace=False))
        if n % 5 in (0, 1):
            yield LayerPath.of([*range(end), *range(first, n_blocks)])
        elif n % 5 == 2:
            yield LayerPath.of([*range(first), *range(end, n_blocks)] or [0])
        elif n % 5 == 3:
            yield LayerPath.of([*range(end), *(list(range(first, end)) * 2), *range(end, n_blocks)])
        else:
            yield LayerPath.of(int(k) for k in rng.permutation(n_blocks))


def compare(name: str, n_paths: int, naive: bool, folder: Path) -> Iterator[dict[str, Any]]:
    """The status of each path over one model."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    model = expand_named(name, folder / "model.gguf")
    architecture = open_gguf(model).header.architecture
    with (
        loaded_model(model, Devices()) as source,
        opened_router([source], N_CTX) as router,
        opened_router([source], N_CTX, n_batch=N_PIECE) as in_pieces,
    ):
        executions = Executions(source, router, in_pieces, None if naive else open_gguf(model))
        tokens = rng.integers(0, source.n_vocab, N_TOKENS).astype(np.int32)
        n_first = FIRST_STAY.get(str(architecture), 0)
        for drawn in draw_paths(source.n_blocks - n_first, n_paths, rng):
            path = LayerPath.of([*range(n_first), *(n_first + b for b in drawn.blocks)])
            print(json.dumps({"trying": name, "path": str(path)}), flush=True)
            status, detail = judge(executions, tokens, path, folder / "patched.gguf")
            found = {"model": name, "architecture": architecture, "path": str(path)}
            yield found | {"status": status, "detail": detail}


class Executions(NamedTuple):
    """A loaded model, and what its paths are run with besides written files."""

    source: Model
    router: Router
    in_pieces: Router
    """Decodes N_PIECE tokens at a time: from the second on, nodes are left out."""
    file: GgufFile | None
    """For aliased models; None for the naive way, whose files nothing else computes."""


def judge(
    executions: Executions, tokens: Integers, path: LayerPath, patched: Path
) -> tuple[str, str]:
    """exact, exact on recent builds, refused, wrong, unloadable; or not compared."""
    notes: tuple[str, ...] = ()
    source, file = executions.source, executions.file
    if file is None:
        patch_naively(source.path, patched, path)
    else:
        try:
            notes = patch(source.path, patched, path, replace=True).notes
        except RefusedError as error:
            return "refused", str(error)
    try:
        with loaded_model(patched, Devices()) as written:
            status, detail = judge_written(executions, tokens, path, written)
    except MalformedFileError as error:
        return "unloadable", str(error)
    return ("exact on recent builds" if notes and status == "exact" else status), detail


def judge_written(
    executions: Executions, tokens: Integers, path: LayerPath, written: Model
) -> tuple[str, str]:
    """exact, wrong, or not compared. The written file is loaded once for all comparisons."""
    source, router, _, file = executions
    result = results_of(written, tokens)
    if file is not None:
        with alias(source, path) as aliased:
            difference = float(np.abs(result - results_of(aliased, tokens)).max())
        if difference != 0.0:
            return "wrong", f"greatest difference of the aliased model {difference}"
    try:
        routed, plain = router.logits(tokens, [path, LayerPath.identity(source.n_blocks)])
    except RefusedError as error:
        return "not compared", str(error)
    difference = float(np.abs(result - routed).max())
    if difference != 0.0:
        return "wrong", f"greatest difference {difference}"
    difference = difference_in_pieces(executions, tokens, path, written)
    if difference != 0.0:
        return "wrong", f"greatest difference {difference}, {N_PIECE} tokens at a time"
    if np.array_equal(routed, plain):
        return "not compared", "the path changes nothing: a wrong file could not be told"
    return "exact", ""


def difference_in_pieces(
    executions: Executions, tokens: Integers, path: LayerPath, written: Model
) -> float:
    """Of the logits of the written file and the routed source; 0 of encoders, which run whole."""
    if executions.file is None or executions.source.is_encoder:
        return 0.0
    routed = next(executions.in_pieces.logits(tokens, [path]))
    return float(np.abs(results_in_pieces(written, tokens) - routed).max())


def plain_results(path: Path, tokens: Integers) -> Results:
    """Of a model as it is: logits, or embeddings of an encoder."""
    with loaded_model(path, Devices()) as model:
        return results_of(model, tokens)


def results_of(model: Model, tokens: Integers) -> Results:
    """Of a loaded model, in a context of its own."""
    with opened_context(model, N_CTX, N_CTX) as context:
        return np.array(context.decode(Batch.of(tokens)))


def results_in_pieces(model: Model, tokens: Integers) -> Results:
    """Logits of a loaded model, N_PIECE tokens at a time."""
    wanted = np.ones(N_PIECE, dtype=np.bool_)
    with opened_context(model, N_CTX, N_PIECE) as context:
        return np.concatenate(
            [
                np.array(context.decode(Batch.side_by_side(part[np.newaxis], first, wanted)))
                for first, part in zip(
                    range(0, N_TOKENS, N_PIECE), np.split(tokens, N_TOKENS // N_PIECE), strict=True
                )
            ]
        )


def routed_results(path: Path, layer_path: LayerPath, tokens: Integers) -> Results:
    """Along a path on the unmodified model."""
    with loaded_model(path, Devices()) as model:
        return route(model, layer_path).logits(tokens)


def main() -> None:
    """Compare on every model named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--paths", type=int, default=3)
    parser.add_argument("--naive", action="store_true")
    options = parser.parse_args()
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            for line in compare(name, options.paths, options.naive, Path(folder)):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
