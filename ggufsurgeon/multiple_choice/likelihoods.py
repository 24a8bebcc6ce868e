"""Log-likelihoods of tokens, and as llama-perplexity rounds them, for its figures to the digit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.context import Integers, Results
from ggufsurgeon.llama_perplexity.softmax import losses_of
from ggufsurgeon.multiple_choice.tasks import TaskFormat

ROWS_AT_ONCE = 64
"""Rows turned into probabilities in one step; bounds the memory for big vocabularies."""


def log_likelihood(logits: Results, targets: Integers, task_format: TaskFormat) -> float:
    """Of all targets together, in nats; logits have shape [n, n_vocab].

    llama-perplexity adds probabilities one after the other in single precision, which makes each
    token likelier: by 1e-4 with 49,152 of them (compute_logprobs, perplexity.cpp:682-712). Only
    the first token of hellaswag's and multiple-choice's it reads more exactly (:899-904).
    """
    if task_format is TaskFormat.JSONL:
        return -float(losses_of(logits, targets).sum())
    starts = range(0, len(targets), ROWS_AT_ONCE)
    pieces = [slice(start, start + ROWS_AT_ONCE) for start in starts]
    values = np.concatenate([_one_by_one(logits[piece], targets[piece]) for piece in pieces])
    if task_format is not TaskFormat.WINOGRANDE:
        values[0] = -losses_of(logits[:1], targets[:1])[0]
    return float(np.add.accumulate(values)[-1])


def _one_by_one(logits: Results, targets: Integers) -> npt.NDArray[np.float32]:
    highest = logits.max(axis=1, keepdims=True)
    # By way of double precision: numpy's own single precision is a unit off now and then.
    exponentials = np.exp((logits - highest).astype(np.float64)).astype(np.float32)
    sums = np.add.accumulate(exponentials, axis=1)[:, -1].astype(np.float64)
    at_target = logits[np.arange(len(targets)), targets]
    values: npt.NDArray[np.float32] = at_target - highest[:, 0] - np.log(sums).astype(np.float32)
    return values
