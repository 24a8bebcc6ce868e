"""Means with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Figure:
    """The mean of independent values, and its standard error: None for a single value."""

    mean: float
    error: float | None


def mean_of(values: Sequence[float]) -> Figure:
    """The sample's mean and standard error, with n - 1."""
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    return Figure(float(array.mean()), float(array.std(ddof=1) / n**0.5) if n > 1 else None)


def exponential(mean: float) -> float:
    """exp, or infinity beyond the largest float."""
    return math.exp(mean) if mean < 700 else math.inf
