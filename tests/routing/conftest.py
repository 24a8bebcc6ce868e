"""What the tests of routing share: a loaded model, tokens, and what a written file computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.context import Batch, Integers, Results, opened_context
from ggufsurgeon.engine.model import Devices, Model, loaded_model

Written: TypeAlias = Callable[[LayerPath, Integers], Results]


@pytest.fixture(scope="module")
def model(stories: Path) -> Iterator[Model]:
    with loaded_model(stories, Devices()) as loaded:
        yield loaded


@pytest.fixture
def tokens(model: Model) -> Integers:
    return np.random.default_rng(0).integers(0, model.n_vocab, 40).astype(np.int32)


@pytest.fixture
def written(stories: Path, tmp_path: Path) -> Written:
    """The logits of all tokens, by the file that `patch` writes."""

    def logits(path: LayerPath, tokens: Integers) -> Results:
        patched = tmp_path / "patched.gguf"
        patch(stories, patched, path, replace=True)
        return plain_logits(patched, tokens)

    return logits


def plain_logits(path: Path, tokens: Integers) -> Results:
    """Without any of the code under test: no taps, and llama.cpp's own micro-batches."""
    n = len(tokens)
    with loaded_model(path, Devices()) as model, opened_context(model, n, n) as context:
        return np.array(context.decode(Batch.of(tokens)))
