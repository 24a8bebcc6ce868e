"""The softmax in the precision of its logits."""

from __future__ import annotations

import ctypes

import numpy as np

from ggufsurgeon.llama_perplexity.softmax import exp, log_softmax

expf = ctypes.CDLL(None).expf
expf.argtypes, expf.restype = [ctypes.c_float], ctypes.c_float


def test_exponentials_of_32_bits_are_those_of_c() -> None:
    values = np.linspace(-20, 0, 20_000, dtype=np.float32)
    of_c = np.array([expf(value) for value in values.tolist()], dtype=np.float32)
    assert (exp(values) != of_c).mean() < 1e-3


def test_logits_of_64_bits_give_log_probabilities_of_64_bits() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (4, 1000))
    exact = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert np.abs(log_softmax(logits) - exact).max() < 1e-13


def test_a_probability_of_0_is_minus_infinity() -> None:
    assert log_softmax(np.array([[0.0, -np.inf]])).tolist() == [[0.0, -np.inf]]
