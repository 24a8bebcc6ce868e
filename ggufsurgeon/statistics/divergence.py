"""How far a model's predictions are from a reference's: the statistics of llama-perplexity.

Q is the model, the base what it is compared with; a Kullback-Leibler divergence is that of Q from
the base, in nats a token; delta p is Q's probability of the correct token, less the base's
(tools/perplexity/perplexity.cpp:175-250 and :1760-2003 in llama.cpp of 2026-10-01).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ggufsurgeon.errors import UsageError
from ggufsurgeon.llama_perplexity.percentiles import percentile
from ggufsurgeon.llama_perplexity.softmax import exp
from ggufsurgeon.statistics.estimate import Estimate, exponential
from ggufsurgeon.statistics.scores import PairedScores, Values

LEAST_SCORED = 100
"""Scored tokens below which llama-perplexity gives no statistics."""
PERCENTILES = (99.9, 99.0, 95.0, 90.0, 75.0, 50.0, 25.0, 10.0, 5.0, 1.0, 0.1)


@dataclass(frozen=True)
class Spread:
    """The mean of a quantity over tokens, and its distribution."""

    mean: Estimate
    maximum: float
    percentiles: dict[str, float]
    """Values by percentage, from "99.9" to "0.1"; "50" is the median."""
    minimum: float


@dataclass(frozen=True)
class Comparison:
    """Scores along one layer path beside those of a reference, the base, over the same tokens.

    Probabilities are fractions of 1, not percent; divergences and logarithms are in nats. Errors
    hold if tokens were independent, where nothing else is said.

    >>> import ggufsurgeon as gs
    >>> settings = gs.TextSettings(n_ctx=64, n_chunks=4)
    >>> text = b"Once upon a time there was a little dog. " * 60
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     (found,) = model.compare(text, [gs.repeat("1:3")], settings=settings)
    >>> found.n_chunks, found.kl.mean.value > 0, abs(found.ln_ratio.value) > found.larger_error
    (4, True, True)
    """

    layer_path: str
    """The layer path that is compared, in its notation; empty for the model as it is."""
    n_scored: int
    n_chunks: int
    perplexity: Estimate
    base_perplexity: Estimate
    """Perplexity by the rows of the base: with the clamp of a logits file, if it is one."""
    correlation: float
    """Correlation of the losses of the two, from -1 to 1."""
    ln_ratio: Estimate
    """Logarithm of the perplexity over the base's; the error takes into account that scores are
    paired."""
    ln_ratio_error_over_chunks: float | None
    """The same error if chunks, not tokens, were independent; None for a single chunk."""
    ratio: Estimate
    difference: Estimate
    kl: Spread
    """Kullback-Leibler divergence from the base, a token."""
    delta_p: Spread
    """Probability of the correct token, less the base's."""
    rms_delta_p: Estimate
    same_top: Estimate
    """Share of tokens where both find the same token most likely; a binomial error."""

    @property
    def larger_error(self) -> float:
        """The larger of the two errors of `ln_ratio`: a value below twice of it may be noise."""
        return max(self.ln_ratio.error or 0.0, self.ln_ratio_error_over_chunks or 0.0)


class _Moments(NamedTuple):
    """A mean and its standard error."""

    value: float
    error: float

    @property
    def estimate(self) -> Estimate:
        """The same as the public type."""
        return Estimate(self.value, self.error)


def check_enough(n_scored: int) -> None:
    """Raise UsageError when the tokens are too few for statistics."""
    if n_scored < LEAST_SCORED:
        raise UsageError(
            f"{n_scored} scored tokens are too few for a divergence: {LEAST_SCORED} are needed",
            hint="Measure more chunks, or a longer text.",
        )


def compare_scores(found: PairedScores, layer_path: str = "") -> Comparison:
    """The statistics over all chunks. Raises UsageError below 100 scored tokens."""
    losses, base_losses = found.losses.reshape(-1), found.base_losses.reshape(-1)
    n = found.kl.size
    check_enough(n)
    mine, base = _mean(losses), _mean(base_losses)
    covariance = _covariance(losses, base_losses)
    ln_ratio = _Moments(mine.value - base.value, _error_of_difference(mine, base, covariance))
    perplexity, base_perplexity = _exponential(mine), _exponential(base)
    scale = perplexity.value * base_perplexity.value
    delta_p = exp(-losses) - exp(-base_losses)
    squares = _mean(delta_p**2)
    rms = math.sqrt(squares.value)
    same = float(found.same_top.mean())
    return Comparison(
        layer_path=layer_path,
        n_scored=n,
        n_chunks=len(found.kl),
        perplexity=perplexity.estimate,
        base_perplexity=base_perplexity.estimate,
        correlation=_ratio(covariance, mine.error * base.error),
        ln_ratio=ln_ratio.estimate,
        ln_ratio_error_over_chunks=_error_over_chunks(found),
        ratio=_exponential(ln_ratio).estimate,
        difference=Estimate(
            perplexity.value - base_perplexity.value,
            _error_of_difference(perplexity, base_perplexity, scale * covariance),
        ),
        kl=_spread(found.kl.reshape(-1)),
        delta_p=_spread(delta_p),
        rms_delta_p=Estimate(rms, _ratio(0.5 * squares.error, rms)),
        same_top=Estimate(same, math.sqrt(same * (1 - same) / (n - 1))),
    )


def _mean(values: Values) -> _Moments:
    """The mean as llama-perplexity has it: squares are of the values' type, sums of 64 bits."""
    n = len(values)
    mean = float(values.mean(dtype=np.float64))
    variance = float((values**2).mean(dtype=np.float64)) - mean**2
    return _Moments(mean, math.sqrt(max(variance, 0) / (n - 1)))


def _covariance(one: Values, other: Values) -> float:
    """Covariance of the means."""
    product = float((one * other).mean(dtype=np.float64))
    means = float(one.mean(dtype=np.float64)) * float(other.mean(dtype=np.float64))
    return (product - means) / (len(one) - 1)


def _error_of_difference(one: _Moments, other: _Moments, covariance: float) -> float:
    return math.sqrt(max(one.error**2 + other.error**2 - 2 * covariance, 0))


def _error_over_chunks(found: PairedScores) -> float | None:
    n_chunks = len(found.kl)
    if n_chunks < 2:
        return None
    ratios = (found.losses - found.base_losses).mean(axis=1, dtype=np.float64)
    return float(ratios.std(ddof=1)) / math.sqrt(n_chunks)


def _exponential(log: _Moments) -> _Moments:
    value = exponential(log.value)
    return _Moments(value, value * log.error)


def _ratio(one: float, other: float) -> float:
    """The quotient; 0 where the divisor is 0, as of two models that do not differ at all."""
    return one / other if other else 0.0


def _spread(values: Values) -> Spread:
    ordered = np.sort(values.astype(np.float32))
    return Spread(
        mean=_mean(values).estimate,
        maximum=float(ordered[-1]),
        percentiles={f"{percent:g}": percentile(ordered, percent) for percent in PERCENTILES},
        minimum=float(ordered[0]),
    )
