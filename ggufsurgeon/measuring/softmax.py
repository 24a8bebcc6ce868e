"""Logits to log-probabilities."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

ROWS_A_TASK = 16
"""Rows that a thread takes at a time."""
LOGITS_AT_ONCE = 1 << 17
"""What it turns into exponentials in one step: they stay in its cache."""


def negative_log_likelihoods(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int32], pool: Executor
) -> npt.NDArray[np.float64]:
    """For rows of shape [n, n_vocab] and targets [n]; float32 exp, float64 sums, by `pool`."""
    parts = [slice(start, start + ROWS_A_TASK) for start in range(0, len(targets), ROWS_A_TASK)]
    losses = pool.map(lambda part: _losses(logits[part], targets[part]), parts)
    return np.concatenate(list(losses))


def _losses(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    n_rows = max(1, LOGITS_AT_ONCE // logits.shape[1])
    space = np.empty((n_rows, logits.shape[1]), dtype=np.float32)
    losses = np.empty(len(targets))
    for start in range(0, len(targets), n_rows):
        rows = logits[start : start + n_rows]
        highest = rows.max(axis=1, keepdims=True)
        shifted = np.subtract(rows, highest, out=space[: len(rows)])
        wanted = targets[start : start + n_rows, np.newaxis]
        at_target = np.take_along_axis(shifted, wanted, axis=1)[:, 0].astype(np.float64)
        sums = np.exp(shifted, out=shifted).sum(axis=1, dtype=np.float64)
        losses[start : start + n_rows] = np.log(sums) - at_target
    return losses


def through_probabilities(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The losses as they come back from float32 probabilities, infinite where these are 0.

    llama-perplexity takes that way with a stride (perplexity.cpp:44-64 and 406-413).
    """
    with np.errstate(divide="ignore", under="ignore"):
        return -np.log(np.exp(-losses).astype(np.float32)).astype(np.float64)
