"""Sequences of a context: copied and cut, they go on as those that were run from the beginning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.context import Batch, Context, Integers, Results, opened_context
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.errors import UsageError
from tests.conftest import ROOT
from tests.models.expanding import expand

TOKENS = np.random.default_rng(0).integers(3, 500, 40).astype(np.int32)
OTHER = np.random.default_rng(1).integers(3, 500, 8).astype(np.int32)


def run(context: Context, tokens: Integers, start: int, sequence: int) -> Results:
    """The logits behind the last of tokens at positions from `start` on."""
    n = len(tokens)
    positions = np.arange(start, start + n, dtype=np.int32)
    batch = Batch(tokens, positions, np.full(n, sequence, np.int32), np.arange(n) == n - 1)
    return np.array(context.decode(batch)[-1])


def from_the_beginning(model: Model, tokens: Integers) -> Results:
    with opened_context(model, 256, 256) as context:
        return run(context, tokens, 0, 0)


def test_copied_and_cut_sequences_go_on(stories: Path) -> None:
    with (
        loaded_model(stories, Devices(n_threads=1)) as model,
        opened_context(model, 256, 256, 4, sharing=True) as context,
    ):
        run(context, TOKENS, 0, 0)
        context.copy(0, 2, 25)
        found = run(context, OTHER, 25, 2)
        right = from_the_beginning(model, np.concatenate([TOKENS[:25], OTHER]))
        assert np.allclose(found, right, atol=0.02)
        context.forget(0, 10)
        found = run(context, OTHER, 10, 0)
        right = from_the_beginning(model, np.concatenate([TOKENS[:10], OTHER]))
        assert np.allclose(found, right, atol=0.02)
        context.keep(2)
        context.copy(2, 0, -1)
        found = run(context, OTHER, 33, 0)
        right = from_the_beginning(model, np.concatenate([TOKENS[:25], OTHER, OTHER]))
        assert np.allclose(found, right, atol=0.02)


def test_cells_of_forgotten_sequences_are_free_again(stories: Path) -> None:
    """40 tokens fit a context of 256 more often than six times."""
    with (
        loaded_model(stories, Devices(n_threads=1)) as model,
        opened_context(model, 256, 256, 2, sharing=True) as context,
    ):
        first = run(context, TOKENS, 0, 0)
        for _ in range(8):
            run(context, TOKENS, 0, 1)
            context.forget(1)
        context.forget(0)
        assert np.allclose(run(context, TOKENS, 0, 0), first, atol=0.02)


def test_a_recurrent_state_cannot_go_back(tmp_path: Path) -> None:
    path = expand(ROOT / "fixtures/arch_headers/mamba-dense.gguf", tmp_path / "model.gguf", 0)
    with (
        loaded_model(path, Devices(n_threads=1)) as model,
        opened_context(model, 256, 256) as context,
    ):
        run(context, TOKENS % 100, 0, 0)
        with pytest.raises(UsageError, match="cannot go back"):
            context.forget(0, 10)
        context.forget(0)
        run(context, TOKENS % 100, 0, 0)
