"""Sums of log-probabilities in 32 bits, beside the same computed with C's own arithmetic."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest

from ggufsurgeon.llama_perplexity.softmax import LOGITS_AT_ONCE, losses_of
from ggufsurgeon.llama_perplexity.task_scores import log_likelihood, mean_of_tokens

expf = ctypes.CDLL(None).expf
expf.argtypes, expf.restype = [ctypes.c_float], ctypes.c_float


def as_compute_logprobs(logits: np.ndarray, targets: np.ndarray) -> float:
    """perplexity.cpp:697-706 and 1248, step by step."""
    score = np.float32(0)
    for row, target in zip(logits, targets, strict=True):
        highest = row.max()
        total = np.float32(0)
        for logit in row:
            total += np.float32(expf(logit - highest))
        score += row[target] - highest - np.float32(math.log(total))
    return float(score)


def test_exponentials_are_added_in_32_bits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (5, 3000)).astype(np.float32)
    targets = rng.integers(0, 3000, 5, dtype=np.int32)
    found = log_likelihood(logits, targets, first_is_exact=False)
    assert found == as_compute_logprobs(logits, targets)
    assert found != float(np.float32(-losses_of(logits, targets).sum()))


def test_the_first_token_is_exact_where_it_is_asked_for() -> None:
    logits = np.full((3, 100_000), -17, dtype=np.float32)
    logits[:, 0] = 0  # exp(-17) vanishes beside 1 in 32 bits
    targets = np.array([5, 6, 7], dtype=np.int32)
    assert log_likelihood(logits, targets, first_is_exact=False) == 3 * -17
    exact = -losses_of(logits[:1], targets[:1])[0]
    assert exact == pytest.approx(-17 - np.log(1 + 99_999 * np.exp(-17)), abs=1e-6)
    assert log_likelihood(logits, targets, first_is_exact=True) == np.float32(exact) + 2 * -17


def test_rows_beyond_one_step_are_added_in_order() -> None:
    n_vocab = LOGITS_AT_ONCE // 2
    logits = np.zeros((5, n_vocab), dtype=np.float32)
    targets = np.arange(5, dtype=np.int32)
    found = log_likelihood(logits, targets, first_is_exact=False)
    assert found == pytest.approx(-5 * math.log(n_vocab), rel=1e-6)


def test_the_mean_is_divided_in_32_bits() -> None:
    assert mean_of_tokens(-1.0, 3) == float(np.float32(-1) / np.float32(3)) != -1 / 3
