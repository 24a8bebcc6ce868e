"""Logits to log-probabilities, rounded as llama-perplexity rounds them.

llama-perplexity takes C's expf of 32-bit floats and adds them up in 64 bits (tools/perplexity/
perplexity.cpp:60-70 in llama.cpp of 2026-10-01). numpy's own exp of 32-bit floats is 3e-9 too
small in the mean, which shows in the last digit of some figures. This is the only softmax of the
package; logits of 64 bits give exponentials of 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Logits: TypeAlias = npt.NDArray[np.float32]
Values: TypeAlias = npt.NDArray[np.floating[Any]]
Integers: TypeAlias = npt.NDArray[np.int32]

LOGITS_AT_ONCE = 1 << 18
"""Turned into probabilities in one step: they stay in a core's cache, and memory is bounded."""


class Sums(NamedTuple):
    """The highest of each of n rows of logits, and the sum of exp(logit - highest), [n]."""

    highest: Values
    """Of the type of the logits."""
    total: npt.NDArray[np.float64]

    @property
    def log_sum(self) -> npt.NDArray[np.float64]:
        """The logarithm of each sum, [n]."""
        return np.log(self.total)

    def losses(self, logits: Values, targets: Integers) -> npt.NDArray[np.float64]:
        """Negative log-likelihoods of one token in each row, in nats, [n]."""
        return self.log_sum - self.below_highest(logits, targets)

    def below_highest(self, logits: Values, targets: Integers) -> Values:
        """Logits of one token in each row, less the highest of the row, [n]."""
        at_target = np.take_along_axis(logits, targets[:, np.newaxis], axis=1)[:, 0]
        return np.asarray(at_target - self.highest)

    def log_probs(self, logits: Values) -> npt.NDArray[np.float64]:
        """Log-probabilities of all tokens in nats, [n, n_vocab]."""
        return logits - (self.highest + self.log_sum)[:, np.newaxis]


def sums_of(logits: Values) -> Sums:
    """The sums of rows of logits [n, n_vocab]; use `parts` where there are many rows."""
    highest = logits.max(axis=1)
    exponentials = exp(logits - highest[:, np.newaxis])
    return Sums(highest, exponentials.sum(axis=1, dtype=np.float64))


def log_softmax(logits: Values) -> npt.NDArray[np.float64]:
    """Log-probabilities in nats of all tokens of a few rows, [n, n_vocab]; minus infinity for 0."""
    return sums_of(logits).log_probs(logits)


def losses_of(logits: Logits, targets: Integers) -> npt.NDArray[np.float64]:
    """Negative log-likelihoods in nats of one token in each row of logits [n, n_vocab], [n]."""
    rows = parts(0, len(targets), logits.shape[1])
    found = [sums_of(logits[part]).losses(logits[part], targets[part]) for part in rows]
    return np.concatenate(found) if found else np.empty(0)


def exp(values: Values) -> Values:
    """exp, rounded once to the type of the values, as C's expf is but for rare last bits."""
    return np.exp(values, dtype=np.float64).astype(values.dtype, copy=False)


def parts(first: int, last: int, n_vocab: int) -> Iterator[slice]:
    """Rows from `first` on, before `last`, a few at a time."""
    step = max(1, LOGITS_AT_ONCE // n_vocab)
    for start in range(first, last, step):
        yield slice(start, min(start + step, last))
