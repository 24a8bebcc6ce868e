"""A real quantized model: what patching and bands find of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.anatomy.pairs import PromptPair
from ggufsurgeon.anatomy.reading.patching import patch_pair
from ggufsurgeon.engine.model import Devices, loaded_model

pytestmark = pytest.mark.slow


def test_the_answer_moves_from_the_token_that_differs_to_the_last(smollm2: Path) -> None:
    pair = PromptPair("The capital of France is", "The capital of Italy is", " Paris", " Rome")
    with loaded_model(smollm2, Devices(n_threads=1)) as model:
        found = patch_pair(model, pair)
        other = patch_pair(model, PromptPair(pair.corrupt, pair.clean, pair.other, pair.answer))
    assert found.problem == "" and found.differing == (3,)
    assert found.tokens == ("The", " capital", " of", " France/ Italy", " is")
    assert found.clean > 5 and found.corrupt < -5
    assert found.clean == pytest.approx(-other.corrupt)
    recovery = found.recovery
    assert recovery is not None and recovery.shape == (30, 5)
    assert not recovery[:, :3].any()
    # In block 0 the last token has seen the other country already, which is not put right.
    assert recovery[0, 3] == pytest.approx(1, abs=0.05) and recovery[0, 4] < 0.1
    assert recovery[-1, 4] == pytest.approx(1, abs=1e-3) and abs(recovery[-1, 3]) < 1e-3
    assert np.flatnonzero(recovery[:, 4] > 0.5)[0] in range(20, 27)
