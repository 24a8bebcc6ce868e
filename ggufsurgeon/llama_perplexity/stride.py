"""Strided evaluation as llama-perplexity's --ppl-stride has it, bug for bug.

Chunks overlap, each scores its last `stride` tokens, and BOS replaces nothing: llama-perplexity
puts it where no batch sees it. Losses are logarithms of 32-bit probabilities, infinite where these
are 0 (tools/perplexity/perplexity.cpp:296-440 and 40-58 in llama.cpp of 2026-10-01).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import UsageError
from ggufsurgeon.llama_perplexity.softmax import Integers, Logits, Sums, exp

CONTEXT_STEP = 256
"""llama.cpp rounds contexts up to multiples of it (src/llama-context.cpp:290-296)."""


def window_length(n_ctx: int, stride: int) -> int:
    """Tokens of a chunk: what llama.cpp makes of n_ctx + stride / 2.

    Raises UsageError for a stride that does not fit into it.
    """
    window = n_ctx + stride // 2
    window += -window % CONTEXT_STEP
    if not 0 < stride < window:
        raise UsageError(
            f"a stride of {stride} does not fit a context of {n_ctx}",
            hint="Use a stride from 1 to the size of the context.",
        )
    return window


def strided_chunks(tokens: Integers, n_window: int, stride: int, n_most: int | None) -> Integers:
    """At most `n_most` overlapping chunks [n_chunks, n_window]; they share memory with `tokens`."""
    n_chunks = -(-(len(tokens) - n_window) // stride)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, n_window)[::stride]
    return windows[: min(n_chunks, n_most or n_chunks)]


def single_losses(sums: Sums, logits: Logits, targets: Integers) -> npt.NDArray[np.float64]:
    """Negative log-likelihoods of one token a row by way of 32-bit probabilities (417-427), [n]."""
    shares = exp(sums.below_highest(logits, targets)) / sums.total
    with np.errstate(under="ignore"):
        probabilities = shares.astype(np.float32)
    logf = _logf()
    return -np.array([logf(value) for value in probabilities.tolist()])


@cache
def _logf() -> Callable[[float], float]:
    """C's logf: up to 0.8 of a last bit off, and numpy's own is off elsewhere."""
    logf = ctypes.CDLL(None).logf
    logf.argtypes, logf.restype = [ctypes.c_float], ctypes.c_float
    found: Callable[[float], float] = logf
    return found
