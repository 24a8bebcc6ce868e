"""How far a model's predictions are from a base's: the statistics of llama-perplexity.

Q is the model, the base what it is measured against; a Kullback-Leibler divergence is that of Q
from the base, in nats a token; delta p is Q's probability of the token that follows, less the
base's (tools/perplexity/perplexity.cpp:175-250 and :1760-2003 in llama.cpp of 2026-10-01).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import UsageError
from ggufsurgeon.llama_perplexity.softmax import exp
from ggufsurgeon.statistics.figures import exponential
from ggufsurgeon.statistics.scores import Compared, Values

LEAST_SCORED = 100
"""Tokens below which the tool gives no statistics."""
PERCENTILES = (99.9, 99.0, 95.0, 90.0, 75.0, 50.0, 25.0, 10.0, 5.0, 1.0, 0.1)


@dataclass(frozen=True)
class Estimate:
    """A mean, or what follows from one, with its standard error if tokens were independent."""

    value: float
    error: float


@dataclass(frozen=True)
class Spread:
    """The mean of a quantity over tokens, and its distribution."""

    mean: Estimate
    maximum: float
    percentiles: dict[str, float]
    """By the percentage, from 99.9 to 0.1; 50 is the median."""
    minimum: float


@dataclass(frozen=True)
class Divergence:
    """Of Q from the base, over the same tokens. Probabilities are fractions of 1, not percent."""

    n_scored: int
    n_chunks: int
    perplexity: Estimate
    base_perplexity: Estimate
    """By the base's rows: with a base file's clamp, if it has one."""
    correlation: float
    """Of the logarithms of the two, from -1 to 1."""
    ln_ratio: Estimate
    """The logarithm of Q's perplexity over the base's; the error knows that they are paired."""
    ln_ratio_error_over_chunks: float | None
    """The same error if chunks, not tokens, were independent; None for a single chunk."""
    ratio: Estimate
    difference: Estimate
    kl: Spread
    delta_p: Spread
    rms_delta_p: Estimate
    same_top: Estimate
    """The share of tokens where both find the same token likeliest; a binomial error."""

    @property
    def larger_error(self) -> float:
        """Of the two of `ln_ratio`: what is less than twice as far from 0 may be noise."""
        return max(self.ln_ratio.error, self.ln_ratio_error_over_chunks or 0)


def check_enough(n_scored: int) -> None:
    """Raise UsageError when the tokens are too few for statistics."""
    if n_scored < LEAST_SCORED:
        raise UsageError(
            f"{n_scored} scored tokens are too few for a divergence: {LEAST_SCORED} are needed",
            hint="Measure more chunks, or a longer text.",
        )


def estimate_divergence(found: Compared) -> Divergence:
    """The statistics over all chunks. Raises UsageError below 100 scored tokens."""
    losses, base_losses = found.losses.reshape(-1), found.base_losses.reshape(-1)
    n = found.kl.size
    check_enough(n)
    mine, base = _mean(losses), _mean(base_losses)
    covariance = _covariance(losses, base_losses)
    ln_ratio = Estimate(mine.value - base.value, _error_of_difference(mine, base, covariance))
    perplexity, base_perplexity = _exponential(mine), _exponential(base)
    scale = perplexity.value * base_perplexity.value
    delta_p = exp(-losses) - exp(-base_losses)
    squares = _mean(delta_p**2)
    rms = math.sqrt(squares.value)
    same = float(found.same_top.mean())
    return Divergence(
        n_scored=n,
        n_chunks=len(found.kl),
        perplexity=perplexity,
        base_perplexity=base_perplexity,
        correlation=_ratio(covariance, mine.error * base.error),
        ln_ratio=ln_ratio,
        ln_ratio_error_over_chunks=_error_over_chunks(found),
        ratio=_exponential(ln_ratio),
        difference=Estimate(
            perplexity.value - base_perplexity.value,
            _error_of_difference(perplexity, base_perplexity, scale * covariance),
        ),
        kl=_spread(found.kl.reshape(-1)),
        delta_p=_spread(delta_p),
        rms_delta_p=Estimate(rms, _ratio(0.5 * squares.error, rms)),
        same_top=Estimate(same, math.sqrt(same * (1 - same) / (n - 1))),
    )


def _mean(values: Values) -> Estimate:
    """Squares are of the values' own type, sums are not: as in the tool."""
    n = len(values)
    mean = float(values.mean(dtype=np.float64))
    variance = float((values**2).mean(dtype=np.float64)) - mean**2
    return Estimate(mean, math.sqrt(max(variance, 0) / (n - 1)))


def _covariance(one: Values, other: Values) -> float:
    """Of the means."""
    product = float((one * other).mean(dtype=np.float64))
    means = float(one.mean(dtype=np.float64)) * float(other.mean(dtype=np.float64))
    return (product - means) / (len(one) - 1)


def _error_of_difference(one: Estimate, other: Estimate, covariance: float) -> float:
    return math.sqrt(max(one.error**2 + other.error**2 - 2 * covariance, 0))


def _error_over_chunks(found: Compared) -> float | None:
    n_chunks = len(found.kl)
    if n_chunks < 2:
        return None
    ratios = (found.losses - found.base_losses).mean(axis=1, dtype=np.float64)
    return float(ratios.std(ddof=1)) / math.sqrt(n_chunks)


def _exponential(log: Estimate) -> Estimate:
    value = exponential(log.value)
    return Estimate(value, value * log.error)


def _ratio(one: float, other: float) -> float:
    """0 where there is nothing to divide by: two models that do not differ at all."""
    return one / other if other else 0.0


def _spread(values: Values) -> Spread:
    ordered = np.sort(values.astype(np.float32))
    return Spread(
        mean=_mean(values),
        maximum=float(ordered[-1]),
        percentiles={f"{percent:g}": _percentile(ordered, percent) for percent in PERCENTILES},
        minimum=float(ordered[0]),
    )


def _percentile(ordered: npt.NDArray[np.float32], percent: float) -> float:
    """Between the two nearest values, in 32-bit floats (perplexity.cpp:1949-1955)."""
    at = np.float32(percent / 100) * np.float32(len(ordered) - 1)
    below = int(at)
    share = np.float32(at - np.float32(below))
    above = ordered[min(below + 1, len(ordered) - 1)]
    return float((np.float32(1) - share) * ordered[below] + share * above)
