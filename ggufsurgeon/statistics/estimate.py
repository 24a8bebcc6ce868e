"""A value with its standard error: the type of every estimate in this program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LARGEST_EXPONENT = 700
"""exp of more is beyond the largest 64-bit float, or close to it."""


@dataclass(frozen=True)
class Estimate:
    """A mean, or a function of one, and its standard error, which is None for a single value.

    >>> import ggufsurgeon as gs
    >>> gs.Estimate(5.0, 0.25).error
    0.25
    """

    value: float
    error: float | None


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean of at least one independent value; the error is that of a sample, with n - 1."""
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    return Estimate(float(array.mean()), float(array.std(ddof=1) / n**0.5) if n > 1 else None)


def exponential(mean: float) -> float:
    """exp, or infinity beyond the largest float."""
    return math.exp(mean) if mean < LARGEST_EXPONENT else math.inf
