"""Companions with a few changed bytes: planned, or refused with an error that users can read."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ggufsurgeon.companions.description import describe
from ggufsurgeon.companions.planner import plan_companion
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import GgufSurgeonError
from ggufsurgeon.layer_path.path import LayerPath
from tests.models.companions import control_vectors, imatrix, lora, lora_tensors
from tests.models.in_memory import opened

N_TRIALS = 400
PATHS = ("0..2,1..4", "0,2..4", "1..4", "0..4")
BYTES = (0, 1, 255, ord("."), ord("0"), ord("9"))
MADE: dict[str, Callable[[Path], bytes]] = {
    "lora": lambda model: lora(model, tensors=lora_tensors(model)[:6]),
    "imatrix": imatrix,
    "control vectors": lambda model: control_vectors(model, [1, 2, 4]),
}


@pytest.mark.parametrize("kind", MADE)
def test_changed_bytes(kind: str, stories: Path) -> None:
    whole, source, rng = MADE[kind](stories), open_gguf(stories), random.Random(kind)
    n_header = opened(whole).header_n_bytes
    n_planned = 0
    for _ in range(N_TRIALS):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(n_header)
            data[at] = rng.choice((*BYTES, data[at] ^ 1, rng.randrange(256)))
        try:
            companion = opened(bytes(data))
            describe(companion.header)
            plan = plan_companion(companion, source, LayerPath(rng.choice(PATHS))).write_plan
        except GgufSurgeonError:
            continue
        n_planned += 1
        assert plan.n_bytes < 3 * len(whole)
    assert 0 < n_planned < N_TRIALS
