"""Bands of blocks: where contents become alike and cease to be, if there is such a place. Pure.

The hypothesis (https://dnhkng.github.io/posts/rys-ii/) is that a model encodes its input in its
first blocks, works on it in a form common to all inputs, and decodes it in its last blocks. So the
similarity of contents should be higher in a run of blocks than both in front of it and behind it.

The rule: of all runs `A:B` of blocks that leave at least one on either side and whose mean is above
the means of both sides, the one whose three means leave the least squared error.

The null: each of its two contrasts (inside less in front, inside less behind) is compared with the
greatest of all runs under random signs of the contents, as by `maximum_null`: without an effect the
curve of a content is as likely turned upside down. Neighbouring blocks stay as alike as they are.
Both contrasts must be more than luck, so the larger p-value counts: a curve that only rises, or
only falls, has no bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ggufsurgeon.anatomy.similarity import TAIL, Values
from ggufsurgeon.statistics.maximum import LEVEL, maximum_null

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
    """The smaller of the two contrasts in standard errors over contents."""
    p_value: float
    """Family-wise over all runs: the larger one of the two contrasts."""

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
    own = int(runs.best(np.full((1, n_contents), 1 / n_contents))[0])
    if own == NONE:
        return None
    nulls = [maximum_null(each.T, seed=seed) for each in runs.contrasts]
    drawn, contrasts = _resampled(runs, own, seed)
    drawn = drawn[drawn != NONE]
    return Bands(
        first=int(runs.first[own]),
        end=int(runs.end[own]),
        first_interval=_whole(runs.first[drawn]),
        end_interval=_whole(runs.end[drawn]),
        contrast=float(min(each[:, own].mean() for each in runs.contrasts)),
        contrast_interval=_interval(contrasts),
        z=float(min(null.z[own] for null in nulls)),
        p_value=float(max(null.p_values[own] for null in nulls)),
    )


NONE = -1
"""In place of the number of a run where none is above both of its sides."""
_Numbers = npt.NDArray[np.int64]


class _Runs:
    """All runs that leave a block on either side, with figures of each content [n, n_runs]."""

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
        self.contrasts = [self._means[1] - self._means[0], self._means[1] - self._means[2]]
        """Inside less in front, and inside less behind."""

    def best(self, weights: Values) -> _Numbers:
        """The number of the best run by the curves' sums, weighted by [n_draws, n_contents]."""
        before, within, behind = (weights @ means for means in self._means)
        means = zip((before, within, behind), self._lengths, strict=True)
        explained = sum(mean**2 * length for mean, length in means)
        is_above = (within > before) & (within > behind)
        found = np.where(is_above, explained, -np.inf).argmax(axis=1)
        return np.where(is_above.any(axis=1), found, NONE)


def _resampled(runs: _Runs, own: int, seed: int) -> tuple[_Numbers, Values]:
    """The best runs, and the contrasts of the run `own`, over bootstrap draws of contents."""
    generator = np.random.default_rng(seed)
    n_contents = len(runs.contrasts[0])
    counts = generator.multinomial(n_contents, np.full(n_contents, 1 / n_contents), N_DRAWS)
    weights = counts / n_contents
    portions = np.split(weights, N_DRAWS // DRAWS_AT_ONCE)
    contrasts = np.min([weights @ each[:, own] for each in runs.contrasts], axis=0)
    return np.concatenate([runs.best(portion) for portion in portions]), contrasts


def _interval(drawn: Values) -> tuple[float, float]:
    low, high = np.percentile(drawn, [TAIL, 100 - TAIL])
    return float(low), float(high)


def _whole(drawn: _Numbers) -> tuple[int, int]:
    """The interval of block numbers, of which each end was drawn."""
    low, high = np.percentile(drawn, [TAIL, 100 - TAIL], method="nearest")
    return int(low), int(high)
