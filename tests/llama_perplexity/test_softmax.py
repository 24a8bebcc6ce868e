"""The softmax in the precision of its logits."""

from __future__ import annotations

import numpy as np

from ggufsurgeon.llama_perplexity.softmax import log_softmax


def test_logits_of_64_bits_give_log_probabilities_of_64_bits() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (4, 1000))
    exact = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert np.abs(log_softmax(logits) - exact).max() < 1e-13
    single = log_softmax(logits.astype(np.float32))
    assert 1e-9 < np.abs(np.exp(single).sum(axis=1) - 1).max() < 1e-6


def test_a_probability_of_0_is_minus_infinity() -> None:
    assert log_softmax(np.array([[0.0, -np.inf]])).tolist() == [[0.0, -np.inf]]
