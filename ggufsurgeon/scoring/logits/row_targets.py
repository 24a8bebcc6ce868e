"""Log-probabilities of tokens by rows of logits, also of several tokens by one row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.context import Flags, Integers, Results
from ggufsurgeon.llama_perplexity.softmax import Values, sums_of

ROWS_AT_ONCE = 16
"""Rows of logits that a thread takes at once."""


class TargetScores(NamedTuple):
    """What rows of logits say of some tokens, [n] each."""

    log_probs: npt.NDArray[np.float64]
    """In nats; NaN where the logits of the row are not finite numbers."""
    are_likeliest: Flags
    """Whether no token of the row is more likely."""


def score_targets(
    logits: Results, rows: Integers, targets: Integers, pool: ThreadPoolExecutor
) -> TargetScores:
    """Tokens `targets`, [n], by the logits [n_rows, n_vocab] in rows `rows`, [n].

    A row may be named several times; its exponentials are summed once.
    """
    if len(rows) == 0:
        return TargetScores(np.empty(0), np.empty(0, dtype=np.bool_))
    distinct, of_targets = np.unique(rows, return_inverse=True)
    parts = [distinct[at : at + ROWS_AT_ONCE] for at in range(0, len(distinct), ROWS_AT_ONCE)]
    found = list(pool.map(lambda part: _summed(logits[part]), parts))
    highest, log_sums = (np.concatenate(arrays)[of_targets] for arrays in zip(*found, strict=True))
    with np.errstate(invalid="ignore"):
        values = logits[rows, targets]
        return TargetScores((values - highest) - log_sums, values == highest)


def _summed(logits: Results) -> tuple[Values, npt.NDArray[np.float64]]:
    """The highest of each row, and the logarithm of the sum of its exponentials below that."""
    with np.errstate(invalid="ignore", over="ignore"):  # logits that are no numbers
        sums = sums_of(logits)
        return sums.highest, sums.log_sum
