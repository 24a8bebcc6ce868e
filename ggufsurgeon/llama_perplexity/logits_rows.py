"""The logits of a base as a logits file keeps them, and the log-probabilities they give.

llama-perplexity keeps 16 bits a logit, in steps of (highest - lowest) / 65535, where what is more
than 16 below the highest counts as 16 below (tools/perplexity/perplexity.cpp:79-107 in llama.cpp
of 2026-10-01). All its steps are in 32-bit floats, and so are these, to be equal to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.llama_perplexity.softmax import Logits, parts, sums_of

CLAMP = np.float32(16)
"""Nats below the likeliest token that a quantised row still tells apart."""
SMALLEST = np.finfo(np.float32).smallest_normal
"""The smallest normal number: a row whose scale is less holds one value."""
N_HEAD = 4
"""16-bit values in front of a row: its scale and its lowest log-probability, 32-bit floats."""


@dataclass(frozen=True)
class BaseRows:
    """Rows of n scored tokens: quantised, uint16 [n, n_values], or logits, float32 [n, n_vocab]."""

    rows: npt.NDArray[Any]
    n_vocab: int

    @property
    def is_quantised(self) -> bool:
        """Whether these are rows of a logits file, with 16 bits a logit."""
        return bool(self.rows.dtype == np.uint16)

    @property
    def floor(self) -> float:
        """Log-probabilities that are not above it are left out of a divergence.

        llama-perplexity's cutoff where the file has clamped them (perplexity.cpp:230).
        """
        return -16.0 if self.is_quantised else -math.inf


def n_values(n_vocab: int) -> int:
    """16-bit values of a quantised row: its head, and an even number of logits."""
    return N_HEAD + 2 * ((n_vocab + 1) // 2)


def quantised(logits: Logits) -> npt.NDArray[np.uint16]:
    """Rows [n, n_values] of a logits file, for finite logits or some of minus infinity."""
    n, n_vocab = logits.shape
    rows = np.zeros((n, n_values(n_vocab)), dtype=np.uint16)
    for part in parts(0, n, n_vocab):
        some = logits[part]
        sums = sums_of(some)
        top, log_sum32 = sums.highest.astype(np.float32), sums.log_sum.astype(np.float32)
        lowest = np.maximum(some.min(axis=1), top - CLAMP)
        scale = (top - lowest) / np.float32(65535)
        head = np.stack([scale, lowest - top - log_sum32], axis=1)
        rows[part, :N_HEAD] = head.view(np.uint16)
        # The inverse of a smaller number would be infinite.
        steps = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale >= SMALLEST)
        above = np.maximum(some - lowest[:, np.newaxis], 0)
        rows[part, N_HEAD : N_HEAD + n_vocab] = np.rint(steps[:, np.newaxis] * above)
    return rows


def dequantised(rows: npt.NDArray[np.uint16], n_vocab: int) -> npt.NDArray[np.float32]:
    """Log-probabilities [n, n_vocab]."""
    scale, lowest = heads(rows).T[..., np.newaxis]
    steps = rows[:, N_HEAD : N_HEAD + n_vocab].astype(np.float32)
    return np.asarray(scale * steps + lowest)


def heads(rows: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Scale and lowest log-probability of quantised rows, [n, 2]."""
    return np.ascontiguousarray(rows[:, :N_HEAD]).view(np.float32)
