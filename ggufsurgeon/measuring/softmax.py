"""Logits to log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

ROWS_AT_ONCE = 64
"""Logit rows turned into probabilities in one step; bounds the memory for big vocabularies."""


def negative_log_likelihoods(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int32]
) -> Iterator[npt.NDArray[np.float64]]:
    """For rows of shape [n, n_vocab] and targets [n], in pieces; float32 exp, float64 sums."""
    for start in range(0, len(targets), ROWS_AT_ONCE):
        rows = logits[start : start + ROWS_AT_ONCE]
        wanted = targets[start : start + ROWS_AT_ONCE, np.newaxis]
        highest = rows.max(axis=1, keepdims=True)
        exponentials = np.exp(rows - highest)
        log_sum = np.log(exponentials.sum(axis=1, dtype=np.float64))
        at_target = np.take_along_axis(rows, wanted, axis=1) - highest
        yield log_sum - at_target[:, 0].astype(np.float64)
