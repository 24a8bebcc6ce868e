"""Scores of multiple-choice answers in 32-bit floats, as llama-perplexity computes them.

Lines are of tools/perplexity/perplexity.cpp in llama.cpp of 2026-10-01.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ggufsurgeon.llama_perplexity.softmax import Integers, Logits, Sums, exp, losses_of, parts


def log_likelihood(logits: Logits, targets: Integers, *, first_is_exact: bool) -> float:
    """The sum of the log-probabilities of `targets` [n] by logits [n, n_vocab], in nats.

    llama-perplexity adds the exponentials of a row one after the other in 32 bits, which makes each
    token more likely: by 1e-4 with 49,152 of them (682-712). With `first_is_exact`, the first token
    is taken from a sum in 64 bits, as for hellaswag (944-948) and multiple-choice (1622-1627). For
    hellaswag llama-perplexity adds tokens in 64 bits, but prints no figure that would show it.
    """
    rows = parts(0, len(targets), logits.shape[1])
    values = np.concatenate([_log_probs(logits[part], targets[part]) for part in rows])
    if first_is_exact:
        values[0] = -losses_of(logits[:1], targets[:1])[0]
    return float(np.add.accumulate(values)[-1])


def mean_of_tokens(log_likelihood: float, n_scored: int) -> float:
    """The log-likelihood divided by the number of scored tokens, in 32 bits (1250, 1258)."""
    return float(np.float32(log_likelihood) / np.float32(n_scored))


def _log_probs(logits: Logits, targets: Integers) -> npt.NDArray[np.float32]:
    """Log-probabilities of one token in each row, from exponentials added in 32 bits, [n]."""
    highest = logits.max(axis=1)
    exponentials = exp(logits - highest[:, np.newaxis])
    total = np.add.accumulate(exponentials, axis=1)[:, -1].astype(np.float64)
    sums = Sums(highest, total)
    return sums.below_highest(logits, targets) - sums.log_sum.astype(np.float32)
