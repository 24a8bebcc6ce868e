"""A thousand routed passes and a hundred generations, printing the memory used. A program."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np

from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.layer_path.notations import repeat_windows
from ggufsurgeon.routing.route import route
from ggufsurgeon.routing.router import opened_router
from tests.conftest import ROOT


def used() -> int:
    """kB of memory in use by this process now, without what only waits to be collected."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def main() -> None:
    """Each round: ten windows over new tokens, and one generation in contexts of its own."""
    rng = np.random.default_rng(0)
    windows = [repeat_windows(5, [(i, j)]) for i in range(4) for j in range(i + 1, 5)]
    stories = ROOT / "fixtures/stories260K.gguf"
    with (
        loaded_model(stories, Devices(n_threads=1)) as model,
        opened_router([model], 32) as router,
    ):
        for n in range(100):
            tokens = rng.integers(0, model.n_vocab, 32).astype(np.int32)
            list(router.logits(tokens, windows))
            list(route(model, windows[n % 10]).generate(tokens, 2))
            if n in (9, 99):
                print(used())


if __name__ == "__main__":
    main()
