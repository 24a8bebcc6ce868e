"""Divergence of a model's predictions from those of a reference, as in llama-perplexity.

The reference is called the base. The Kullback-Leibler divergence is that of the model from the
base, the sum over the vocabulary of p_base (ln p_base - ln p_model), in nats per token. Delta p is
the probability that the model gives to the correct token, less that of the base. The formulas are
those of tools/perplexity/perplexity.cpp:191-250 and 1749-1982 in llama.cpp of 2026-10-01.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ggufsurgeon.errors import UsageError
from ggufsurgeon.llama_perplexity.moments import Moments, covariance, moments
from ggufsurgeon.llama_perplexity.percentiles import percentile
from ggufsurgeon.llama_perplexity.softmax import exp
from ggufsurgeon.statistics.estimate import Estimate, exponential
from ggufsurgeon.statistics.scores import PairedScores, Values

LEAST_SCORED = 100
"""Fewest scored tokens that statistics are given for, as in llama-perplexity (1887)."""
PERCENTILES = (99.9, 99.0, 95.0, 90.0, 75.0, 50.0, 25.0, 10.0, 5.0, 1.0, 0.1)
"""Percentages of the distributions that llama-perplexity prints."""


@dataclass(frozen=True)
class Spread:
    """The mean of a quantity over tokens, and its distribution, all in the unit of the quantity."""

    mean: Estimate
    maximum: float
    percentiles: dict[str, float]
    """Percentiles by percentage, from "99.9" to "0.1"; "50" is the median."""
    minimum: float


@dataclass(frozen=True)
class Comparison:
    """A model along one layer path compared with a reference, the base, on the same tokens.

    Probabilities are from 0 to 1; divergences and logarithms are in nats. Standard errors assume
    that tokens are independent, unless stated otherwise.

    >>> import ggufsurgeon as gs
    >>> settings = gs.TextSettings(n_ctx=64, n_chunks=4)
    >>> text = b"Once upon a time there was a little dog. " * 60
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     (found,) = model.compare(text, [gs.repeat("1:3")], settings=settings)
    >>> found.n_chunks, found.kl.mean.value > 0, abs(found.ln_ratio.value) > found.larger_error
    (4, True, True)
    """

    layer_path: str
    """The layer path that is compared, in its notation; empty for the unmodified model."""
    n_scored: int
    """Number of scored tokens in all chunks."""
    n_chunks: int
    perplexity: Estimate
    base_perplexity: Estimate
    """Perplexity of the base; of a logits file, by its clamped log-probabilities."""
    correlation: float
    """Correlation of the negative log-likelihoods of model and base, from -1 to 1."""
    ln_ratio: Estimate
    """Logarithm of the ratio of the perplexities, model to base. The standard error takes into
    account that scores are paired."""
    ln_ratio_error_over_chunks: float | None
    """Standard error of `ln_ratio` that assumes independence of chunks, not of tokens; None for a
    single chunk."""
    ratio: Estimate
    """Ratio of the perplexities, model to base."""
    difference: Estimate
    """Perplexity of the model, less that of the base."""
    kl: Spread
    """Kullback-Leibler divergence from the base, in nats per token."""
    delta_p: Spread
    """Probability of the correct token, less that of the base, from -1 to 1."""
    rms_delta_p: Estimate
    """Root of the mean square of `delta_p`, from 0 to 1."""
    same_top: Estimate
    """Share of tokens, from 0 to 1, where model and base have the same most likely token. The
    standard error is binomial."""
    n_common_tokens: int | None = None
    """Where the base has a vocabulary of another size, the number of tokens that both have: the
    comparison is over these, with probabilities that add up to 1. None for one size."""

    @property
    def larger_error(self) -> float:
        """The larger standard error of `ln_ratio`: a ratio below twice of it may be noise."""
        return max(self.ln_ratio.error or 0.0, self.ln_ratio_error_over_chunks or 0.0)


def check_enough(n_scored: int) -> None:
    """Raise UsageError for fewer scored tokens than statistics are given for."""
    if n_scored < LEAST_SCORED:
        raise UsageError(
            f"{n_scored} scored tokens are too few for a divergence: {LEAST_SCORED} are needed",
            hint="Measure more chunks, or a longer text.",
        )


def compare_scores(
    found: PairedScores, layer_path: str = "", n_common_tokens: int | None = None
) -> Comparison:
    """The statistics of scores [n_chunks, n_scored] over all chunks.

    `layer_path` is the notation for the result, and `n_common_tokens` a field of it. Raises
    UsageError below 100 scored tokens.
    """
    losses, base_losses = found.losses.reshape(-1), found.base_losses.reshape(-1)
    n = found.kl.size
    check_enough(n)
    mine, base = moments(losses), moments(base_losses)
    shared = covariance(losses, base_losses)
    ln_ratio = Moments(mine.value - base.value, _error_of_difference(mine, base, shared))
    perplexity, base_perplexity = _exponential(mine), _exponential(base)
    scale = perplexity.value * base_perplexity.value
    delta_p = exp(-losses) - exp(-base_losses)
    squares = moments(delta_p**2)
    rms = math.sqrt(squares.value)
    same = float(found.same_top.mean())
    return Comparison(
        layer_path=layer_path,
        n_scored=n,
        n_chunks=len(found.kl),
        perplexity=Estimate(*perplexity),
        base_perplexity=Estimate(*base_perplexity),
        correlation=_ratio(shared, mine.error * base.error),
        ln_ratio=Estimate(*ln_ratio),
        ln_ratio_error_over_chunks=_error_over_chunks(found),
        ratio=Estimate(*_exponential(ln_ratio)),
        difference=Estimate(
            perplexity.value - base_perplexity.value,
            _error_of_difference(perplexity, base_perplexity, scale * shared),
        ),
        kl=_spread(found.kl.reshape(-1)),
        delta_p=_spread(delta_p),
        rms_delta_p=Estimate(rms, _ratio(0.5 * squares.error, rms)),
        same_top=Estimate(same, math.sqrt(same * (1 - same) / (n - 1))),
        n_common_tokens=n_common_tokens,
    )


def _error_of_difference(one: Moments, other: Moments, shared: float) -> float:
    """The standard error of the difference of two means whose covariance is `shared`."""
    return math.sqrt(max(one.error**2 + other.error**2 - 2 * shared, 0))


def _error_over_chunks(found: PairedScores) -> float | None:
    """The standard error of `ln_ratio`, from the means of chunks; None for a single chunk."""
    n_chunks = len(found.kl)
    if n_chunks < 2:
        return None
    ratios = (found.losses - found.base_losses).mean(axis=1, dtype=np.float64)
    return float(ratios.std(ddof=1)) / math.sqrt(n_chunks)


def _exponential(log: Moments) -> Moments:
    """The exponential of a mean, with its standard error to first order."""
    value = exponential(log.value)
    return Moments(value, value * log.error)


def _ratio(one: float, other: float) -> float:
    """The quotient; 0 for a divisor of 0, which two equal models give."""
    return one / other if other else 0.0


def _spread(values: Values) -> Spread:
    """The distribution of values [n]: the mean in their precision, the rest in 32 bits."""
    ordered = np.sort(values.astype(np.float32))
    return Spread(
        mean=Estimate(*moments(values)),
        maximum=float(ordered[-1]),
        percentiles={f"{percent:g}": percentile(ordered, percent) for percent in PERCENTILES},
        minimum=float(ordered[0]),
    )
