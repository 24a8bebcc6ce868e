"""Routed generation says what the written file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.engine.sampling import Sampling
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.route import route
from tests.calls import patch
from tests.conftest import ROOT
from tests.models.expanding import expand

pytestmark = pytest.mark.slow

PATHS = ["0..4", "0..3,1..4", "0..3", "4,3,2,1,0", "1..4,0..4", "0..1*0.5,1..2*0.3,4*0,3..4"]
SAMPLINGS = [Sampling(), Sampling(0.9, seed=7)]


@pytest.mark.parametrize("layers", PATHS)
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "sampled"])
def test_the_same_tokens_as_the_written_file(
    model: Model, stories: Path, tmp_path: Path, layers: str, sampling: Sampling
) -> None:
    prompt = model.tokenize(b"Once upon a time, Lily")
    routed = list(route(model, LayerPath(layers)).generate(prompt, 30, sampling))
    patch(stories, tmp_path / "patched.gguf", LayerPath(layers))
    assert routed == generated(tmp_path / "patched.gguf", prompt, sampling)
    assert len(routed) == 30 and len(set(routed)) > 1


class Told:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.total = 0
        self.done: list[int] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        self.total = total

    def advance(self, n: int, note: str = "") -> None:
        self.done.append(n)


def test_the_prompt_is_watched(model: Model) -> None:
    """Batch by batch, and the prompt alone."""
    told, prompt = Told(), np.full(1200, 5, dtype=np.int32)
    list(route(model, LayerPath("0..4")).generate(prompt, 3, progress=told))
    assert told.total == sum(told.done) == 1200 and len(told.done) > 1


def generated(path: Path, prompt: Integers, sampling: Sampling) -> list[int]:
    with loaded_model(path, Devices()) as model:
        return list(route(model, LayerPath.identity(model.n_blocks)).generate(prompt, 30, sampling))


@pytest.mark.parametrize("stem", ["qwen35-dense", "mamba2-dense", "gemma3-dense", "hy_v4-moe"])
def test_recurrent_and_sliding_blocks_keep_their_own_past(stem: str, tmp_path: Path) -> None:
    source = expand(ROOT / f"fixtures/arch_headers/{stem}.gguf", tmp_path / "source.gguf", 1)
    path = LayerPath("0..3,2..7")
    patch(source, tmp_path / "patched.gguf", path)
    prompt = np.arange(40, dtype=np.int32)
    with loaded_model(source, Devices()) as model:
        routed = list(route(model, path).generate(prompt, 30))
    assert routed == generated(tmp_path / "patched.gguf", prompt, Sampling())
    assert len(set(routed)) > 1


def test_the_same_seed_says_the_same_and_another_does_not(model: Model) -> None:
    prompt = model.tokenize(b"Once")
    path = LayerPath("0..3,1..4")
    said = [list(route(model, path).generate(prompt, 20, Sampling(1, seed=s))) for s in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


def test_a_prompt_without_tokens(model: Model) -> None:
    with pytest.raises(UsageError, match="no tokens"):
        next(route(model, LayerPath("0..4")).generate(np.empty(0, dtype=np.int32), 3))
