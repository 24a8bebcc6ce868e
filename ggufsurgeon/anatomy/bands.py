"""Bands of blocks: where contents become alike and cease to be, if there is such a place. Pure.

The hypothesis (https://dnhkng.github.io/posts/rys/) is that a model encodes its input in its first
blocks, works on it in a form common to all inputs, and decodes it in its last blocks. So the
similarity of contents should be higher in a run of blocks than both in front of it and behind it.

The rule: of all runs `A:B` of blocks that leave at least one on either side and whose mean is above
the means of both sides, the one whose three means leave the least squared error. Its statistic is
the smaller of its two contrasts (inside less in front, inside less behind), each in standard errors
over contents.

The null: the curve of each content, less its mean over blocks, is turned upside down or not, at
random; without bands either is as likely. Neighbouring blocks stay as alike as they are, and the
whole rule runs on each draw. So a curve that only rises, or only falls, has no bands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ggufsurgeon.anatomy.similarity import TAIL, Values
from ggufsurgeon.statistics.maximum import LEVEL

N_DRAWS = 2000
DRAWS_AT_ONCE = 100
LEAST_BLOCKS = 3


@dataclass(frozen=True)
class Bands:
    """The run of blocks in which contents are most alike, and whether that is more than luck."""

    first: int
    """The first block of the middle band."""
    end: int
    """The block behind its last."""
    first_interval: tuple[int, int]
    """95 % of bootstrap draws over contents."""
    end_interval: tuple[int, int]
    contrast: float
    """The smaller of the two differences of mean similarity."""
    contrast_interval: tuple[float, float]
    """That of the same blocks over bootstrap draws."""
    z: float
    """The statistic."""
    p_value: float
    """Probability that the rule reaches it without bands."""

    @property
    def is_found(self) -> bool:
        """Whether the null is rejected."""
        return self.p_value <= LEVEL


def find_bands(curves: Values, seed: int) -> Bands | None:
    """The bands of curves [n_contents, n_blocks]; None where no run is above both of its sides.

    Fewer than 3 blocks or 2 contents have none either.
    """
    n_contents, n_blocks = curves.shape
    if n_blocks < LEAST_BLOCKS or n_contents < 2:
        return None
    runs = _Runs(curves - curves.mean(axis=1, keepdims=True))
    found = runs.fit(np.full((1, n_contents), 1 / n_contents))
    if not np.isfinite(found.statistic[0]):
        return None
    generator = np.random.default_rng(seed)
    n_reached = 0
    for n in _portions():
        signs = generator.integers(0, 2, (n, n_contents)) * 2.0 - 1.0
        n_reached += int((runs.fit(signs / n_contents).statistic >= found.statistic[0]).sum())
    own = int(found.run[0])
    firsts, ends, contrasts = _resampled(runs, own, n_contents, generator)
    return Bands(
        first=int(runs.first[own]),
        end=int(runs.end[own]),
        first_interval=_whole(firsts),
        end_interval=_whole(ends),
        contrast=float(runs.contrasts(own).mean(axis=-1).min()),
        contrast_interval=_interval(contrasts),
        z=float(found.statistic[0]),
        p_value=(1 + n_reached) / (1 + N_DRAWS),
    )


class _Fit(NamedTuple):
    """The best run of each draw."""

    run: npt.NDArray[np.int64]
    statistic: Values
    """Minus infinity where no run is above both of its sides."""


class _Runs:
    """All runs that leave a block on either side, with the means of each content, [n, n_runs]."""

    def __init__(self, curves: Values) -> None:
        n_blocks = curves.shape[1]
        runs = [(a, b) for a in range(1, n_blocks - 1) for b in range(a + 1, n_blocks)]
        self.first, self.end = np.array(runs).T
        sums = np.concatenate([np.zeros((len(curves), 1)), curves.cumsum(axis=1)], axis=1)
        self._lengths = [self.first, self.end - self.first, n_blocks - self.end]
        self._means = [
            sums[:, self.first] / self._lengths[0],
            (sums[:, self.end] - sums[:, self.first]) / self._lengths[1],
            (sums[:, [n_blocks]] - sums[:, self.end]) / self._lengths[2],
        ]
        self._contrasts = [self._means[1] - self._means[0], self._means[1] - self._means[2]]
        self._squares = [(each**2).mean(axis=0) for each in self._contrasts]

    def contrasts(self, run: int) -> Values:
        """The two contrasts of a run, [2, n_contents]."""
        return np.stack([each[:, run] for each in self._contrasts])

    def fit(self, weights: Values) -> _Fit:
        """The best run by the weighted sums of the curves, [n_draws, n_contents]."""
        before, within, behind = (weights @ means for means in self._means)
        means = zip((before, within, behind), self._lengths, strict=True)
        explained = sum(mean**2 * length for mean, length in means)
        is_above = (within > before) & (within > behind)
        best = np.where(is_above, explained, -np.inf).argmax(axis=1)
        rows = np.arange(len(weights))
        z = [
            self._z((weights @ contrasts)[rows, best], squares[best])
            for contrasts, squares in zip(self._contrasts, self._squares, strict=True)
        ]
        return _Fit(best, np.where(is_above[rows, best], np.minimum(*z), -np.inf))

    def _z(self, means: Values, squares: Values) -> Values:
        n = len(self._means[0])
        # What rounding leaves of a variance of 0 is negligible beside the squares.
        variances = np.maximum(squares - means**2, 1e-12 * squares) / (n - 1)
        return np.divide(means, np.sqrt(variances), out=np.zeros_like(means), where=variances > 0)


def _resampled(
    runs: _Runs, own: int, n_contents: int, generator: np.random.Generator
) -> tuple[Values, Values, Values]:
    """First blocks and ends of the rule, and contrasts of the run `own`, over bootstrap draws."""
    firsts, ends, contrasts = [], [], []
    for n in _portions():
        counts = generator.multinomial(n_contents, np.full(n_contents, 1 / n_contents), n)
        weights = counts / n_contents
        found = runs.fit(weights)
        is_there = np.isfinite(found.statistic)
        firsts.append(runs.first[found.run[is_there]])
        ends.append(runs.end[found.run[is_there]])
        contrasts.append((runs.contrasts(own) @ weights.T).min(axis=0))
    return np.concatenate(firsts), np.concatenate(ends), np.concatenate(contrasts)


def _portions() -> Iterator[int]:
    for start in range(0, N_DRAWS, DRAWS_AT_ONCE):
        yield min(DRAWS_AT_ONCE, N_DRAWS - start)


def _interval(drawn: Values) -> tuple[float, float]:
    low, high = np.percentile(drawn, [TAIL, 100 - TAIL])
    return float(low), float(high)


def _whole(drawn: Values) -> tuple[int, int]:
    """The interval of block numbers, of which each end was drawn."""
    low, high = np.percentile(drawn, [TAIL, 100 - TAIL], method="nearest")
    return int(low), int(high)
