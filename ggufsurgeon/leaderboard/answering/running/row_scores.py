"""Log-probabilities of tokens by rows of logits, several tokens of one row included."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.context import Flags, Integers, Results
from ggufsurgeon.llama_perplexity.softmax import Sums, sums_of

ROWS_AT_ONCE = 16
"""Rows of logits that a thread takes at once."""


class RowScores(NamedTuple):
    """What rows of logits say of some tokens, [n] each."""

    log_probs: npt.NDArray[np.float64]
    """In nats; NaN where the logits of the row are not finite numbers."""
    are_likeliest: Flags
    """Whether no token of the row is more likely."""


def score_rows(
    logits: Results, rows: Integers, targets: Integers, pool: ThreadPoolExecutor
) -> RowScores:
    """Tokens `targets`, [n], by the logits [n_rows, n_vocab] in rows `rows`, [n].

    A row may be named several times; its exponentials are summed once.
    """
    if len(rows) == 0:
        return RowScores(np.empty(0), np.empty(0, dtype=np.bool_))
    parts = [slice(at, at + ROWS_AT_ONCE) for at in range(0, len(logits), ROWS_AT_ONCE)]
    found = list(pool.map(lambda part: _summed(logits[part]), parts))
    sums = Sums(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))
    with np.errstate(invalid="ignore"):
        of_targets = logits[rows, targets]
        log_probs = (of_targets - sums.highest[rows]) - sums.log_sum[rows]
        return RowScores(log_probs, of_targets == sums.highest[rows])


def _summed(logits: Results) -> Sums:
    with np.errstate(invalid="ignore", over="ignore"):  # logits that are no numbers
        return sums_of(logits)
