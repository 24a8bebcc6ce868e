"""Means, standard errors and covariances, rounded as llama-perplexity rounds them.

Squares and products are of the type of the values, 32-bit floats where a logits file is the base;
only sums have 64 bits (tools/perplexity/perplexity.cpp:210-217 and 1749-1766 in llama.cpp of
2026-10-01). Variances are of the whole sample, divided by n - 1 for the error of the mean.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ggufsurgeon.llama_perplexity.softmax import Values


class Moments(NamedTuple):
    """A mean and its standard error, in the unit of the values."""

    value: float
    error: float


def moments(values: Values) -> Moments:
    """The mean of at least two values [n], and its standard error."""
    mean = float(values.mean(dtype=np.float64))
    variance = float((values**2).mean(dtype=np.float64)) - mean**2
    return Moments(mean, math.sqrt(max(variance, 0) / (len(values) - 1)))


def covariance(one: Values, other: Values) -> float:
    """The covariance of the means of paired values, both [n], in the product of their units."""
    product = float((one * other).mean(dtype=np.float64))
    means = float(one.mean(dtype=np.float64)) * float(other.mean(dtype=np.float64))
    return (product - means) / (len(one) - 1)
