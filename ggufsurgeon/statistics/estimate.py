"""Estimates: values with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LARGEST_EXPONENT = 700
"""Exponents from here on give infinity: the largest 64-bit float is about exp(709.78)."""


@dataclass(frozen=True)
class Estimate:
    """A mean, or a function of means, with its standard error, both in the same unit.

    >>> import ggufsurgeon as gs
    >>> gs.Estimate(5.0, 0.25).error
    0.25
    """

    value: float
    error: float | None
    """The standard error; None where there is one value alone."""


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean of n >= 1 independent values; its standard error is the sample's, with n - 1."""
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    return Estimate(float(array.mean()), float(array.std(ddof=1) / n**0.5) if n > 1 else None)


def exponential(mean: float) -> float:
    """exp of a mean in nats; infinity from an exponent of 700 on."""
    return math.exp(mean) if mean < LARGEST_EXPONENT else math.inf
