"""Bands of blocks: where contents become similar and cease to be, if they do. Pure.

The hypothesis (https://dnhkng.github.io/posts/rys-ii/) is that a model encodes its input in its
first blocks, works on it in a representation common to all inputs, and decodes it in its last
blocks. So the similarity of contents should be higher in a run of blocks than both before and after
it.

The rule: the middle band is a run `A:B` with at least one block on either side and a mean above the
means of both sides. Of all such runs, it is the one whose three means leave the least squared
error.

The null: each of its two contrasts (its mean minus that of the blocks before it, and minus that of
the blocks after it) is compared with the greatest of all runs under random signs of the contents,
as by `maximum_null`: without an effect, the curve of a content and its negative are equally likely.
The signs keep the correlation of neighbouring blocks. Both contrasts must be significant, so the
larger p-value counts: a curve that only rises, or only falls, has no bands.
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
    """The run of blocks in which contents are most similar, and whether that is significant."""

    first: int
    """The first block of the middle band."""
    end: int
    """The block after its last: the first of the decoding band."""
    first_interval: tuple[int, int]
    """95 % interval of `first` over bootstrap draws of contents."""
    end_interval: tuple[int, int]
    """The same of `end`."""
    contrast: float
    """The smaller of the two contrasts, a difference of mean cosines."""
    contrast_interval: tuple[float, float]
    """95 % interval of the contrast of the same blocks, over bootstrap draws of contents."""
    z: float
    """The smaller of the z of the two contrasts: each in its standard errors over contents."""
    p_value: float
    """The larger of the p-values of the two contrasts, each family-wise over all runs."""

    @property
    def is_found(self) -> bool:
        """Whether the null is rejected."""
        return self.p_value <= LEVEL


def find_bands(curves: Values, seed: int) -> Bands | None:
    """The bands of curves [n_contents, n_blocks], or None if no run is above both of its sides.

    The result is also None for fewer than 3 blocks or 2 contents.
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
"""Stands for the index of a run if none is above both of its sides."""
_Numbers = npt.NDArray[np.int64]


class _Runs:
    """All runs with at least one block on either side, and their means for each content."""

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
        """Mean inside minus that before, and minus that after, each [n_contents, n_runs]."""

    def best(self, weights: Values) -> _Numbers:
        """The index of the best run, with contents weighted by [n_draws, n_contents]."""
        before, within, behind = (weights @ means for means in self._means)
        means = zip((before, within, behind), self._lengths, strict=True)
        explained = sum(mean**2 * length for mean, length in means)
        is_above = (within > before) & (within > behind)
        found = np.where(is_above, explained, -np.inf).argmax(axis=1)
        return np.where(is_above.any(axis=1), found, NONE)


def _resampled(runs: _Runs, own: int, seed: int) -> tuple[_Numbers, Values]:
    """The best run, and the contrast of the run `own`, in each bootstrap draw of contents."""
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
    """The interval of block numbers; both of its ends are among the drawn values."""
    low, high = np.percentile(drawn, [TAIL, 100 - TAIL], method="nearest")
    return int(low), int(high)
