"""Every architecture of the table: written = routed, bit for bit. Run as a program.

    python -m tests.verification.matrix HEADER.gguf ...

prints one JSON line a header. llama.cpp ends the process on some inputs, so the tests run this
in one of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

from ggufsurgeon import api
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from tests.verification.expanding import expand
from tests.verification.routed import Runner

N_TOKENS = 40
N_BLOCKS = 8
KINDS = ("repeat", "drop", "shuffle")


def draw_path(kind: str, rng: np.random.Generator) -> LayerPath:
    """A path that begins with block 0, which routing here cannot jump to."""
    first, end = sorted(int(n) for n in rng.choice(np.arange(1, N_BLOCKS + 1), 2, replace=False))
    if kind == "repeat":
        return LayerPath.of([*range(end), *range(first, N_BLOCKS)])
    if kind == "drop":
        return LayerPath.of([*range(first), *range(end, N_BLOCKS)])
    return LayerPath.of([0, *(int(n) for n in rng.permutation(np.arange(1, N_BLOCKS)))])


def compare(header: Path, folder: Path) -> dict[str, object]:
    """The greatest difference of a logit on each path, and from the model as it was."""
    seed = zlib.crc32(header.stem.encode())
    rng = np.random.default_rng(seed)
    model = expand(header, folder / "model.gguf", seed)
    differences, effects = {}, []
    with Runner(model, N_TOKENS) as runner:
        assert runner.n_blocks == N_BLOCKS
        tokens = [int(n) for n in rng.integers(0, runner.n_vocab, N_TOKENS)]
        plain = runner.logits(tokens)
        for kind in KINDS:
            path = draw_path(kind, rng)
            try:
                api.patch(model, folder / "patched.gguf", path, replace=True)
            except RefusedError as error:
                return {"refused": str(error)}
            routed = runner.logits(tokens, path)
            with Runner(folder / "patched.gguf", N_TOKENS) as written:
                difference = np.abs(written.logits(tokens) - routed).max()
            differences[str(path)] = float(difference)
            effects.append(float(np.abs(routed - plain).max()))
    return {"differences": differences, "least_effect": min(effects)}


def main() -> None:
    """Compare on every header named on the command line."""
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:]:
            found = compare(Path(name), Path(folder))
            print(json.dumps({"header": Path(name).stem, **found}), flush=True)


if __name__ == "__main__":
    main()
