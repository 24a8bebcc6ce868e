"""The null of a maximum: how far the best of many means is above 0 by luck alone.

The differences of an item have either sign with equal probability when no path has an effect, and
the signs of all paths flip together, so that paths that differ alike stay as correlated as they
are. Means are studentised, since the paths that break a model vary most. The maximum over paths and
its step-down p-values are the max-T procedure of Westfall and Young, Resampling-Based Multiple
Testing, 1993, algorithm 4.1, with sign flips for its permutations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
N_DRAWS = 4000
DRAWS_AT_ONCE = 250
LEVEL = 0.05
"""The probability of a wrong finding that verdicts allow."""
TIE = 1e-9
"""Relative difference of two z that are equal but for rounding: scores such as right and wrong give
the same sum in many ways."""
LEAST_ITEMS = 5
"""Items of each half that a verdict needs: they have 32 sign patterns, of which one is 3 %."""


@dataclass(frozen=True)
class MaximumNull:
    """The paths' means in standard errors, beside what the best reaches without any effect."""

    z: Values
    """Mean differences in standard errors, [n_paths]."""
    maxima: Values
    """The greatest z of all paths in each draw without effects, ascending, [n_draws]."""
    p_values: Values
    """Step-down p-values, one-sided, of the hypothesis that a path is no better, [n_paths]."""

    @property
    def luck_z(self) -> float:
        """The z that the best path exceeds by luck alone with probability `LEVEL`."""
        return float(np.quantile(self.maxima, 1 - LEVEL))


def studentised(*differences: Values) -> Values:
    """Means of paired differences [n_paths, n_items] in standard errors, [n_paths].

    0 for a path without any difference. Of several sets of items, the sum of their z over the
    square root of their number: Stouffer's z, of which 1 is the standard error.
    """
    found = [_z(part.sum(axis=1), (part**2).sum(axis=1), part.shape[1]) for part in differences]
    return _combined(found)


def maximum_null(*differences: Values, seed: int = 0, n_draws: int = N_DRAWS) -> MaximumNull:
    """The null of the maximum for paired differences [n_paths, n_items], which are finite.

    Of several sets of items, that of their z combined as by `studentised`; the sets are taken to be
    independent of each other. Raises ValueError for fewer than two items in one.
    """
    if min(part.shape[1] for part in differences) < 2:
        raise ValueError("differences of at least two items are needed")
    z = studentised(*differences)
    order = np.argsort(-z, kind="stable")
    reached = z[order] - TIE * np.abs(z[order])
    n_reached = np.zeros(len(z))
    maxima = []
    for draws in _draws([part[order] for part in differences], seed, n_draws):
        # From the lowest path up: each is compared with the best of those that are not above it.
        best = np.maximum.accumulate(draws[:, ::-1], axis=1)[:, ::-1]
        n_reached += (best >= reached).sum(axis=0)
        maxima.append(best[:, 0])
    p_values = np.empty(len(z))
    p_values[order] = np.maximum.accumulate((1 + n_reached) / (1 + n_draws))
    return MaximumNull(z, np.sort(np.concatenate(maxima)), p_values)


def _draws(differences: Sequence[Values], seed: int, n_draws: int) -> Iterator[Values]:
    """The z of all paths under random signs, [n, n_paths], some draws at a time."""
    generator = np.random.default_rng(seed)
    squares = [(part**2).sum(axis=1) for part in differences]
    for start in range(0, n_draws, DRAWS_AT_ONCE):
        n = min(DRAWS_AT_ONCE, n_draws - start)
        found = []
        for part, of_part in zip(differences, squares, strict=True):
            n_items = part.shape[1]
            signs = generator.integers(0, 2, (n, n_items)) * 2.0 - 1.0
            found.append(_z(signs @ part.T, of_part, n_items))
        yield _combined(found)


def _combined(z: Sequence[Values]) -> Values:
    return np.asarray(sum(z) / math.sqrt(len(z)))


def _z(sums: Values, squares: Values, n_items: int) -> Values:
    """Means in standard errors, by sums and sums of squares of n items."""
    means = sums / n_items
    # What rounding leaves of a variance of 0 is negligible beside the squares.
    variances = np.maximum(squares - n_items * means**2, 1e-12 * squares) / (n_items - 1)
    errors = np.sqrt(variances / n_items)
    return np.divide(means, errors, out=np.zeros_like(means), where=errors > 0)


def held_out_items(n_items: int, share: float, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Which items are kept out of the search, a random `share` of them, [n_items]."""
    order = np.random.default_rng(seed).permutation(n_items)
    return np.asarray(order < round(share * n_items))
