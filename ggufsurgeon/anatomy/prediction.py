"""Whether the similarity of contents predicts which windows are worth repeating. Pure.

For each window `I:J` of a scan, the mean similarity after its blocks is compared with its effect on
the items held out of the scan's search. Long windows harm more wherever they are, so both are
ranked, and the mean rank of all windows of the same length is subtracted: a partial rank
correlation given length.

The null: windows overlap and neighbouring blocks are similar, so windows are not shuffled. Instead
the similarity curve is rotated: it begins at each other block, forwards and backwards, which keeps
both kinds of dependence. N blocks have 2 N such placements, so no p-value is below 1 / (2 N).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ggufsurgeon.anatomy.similarity import TAIL, Values
from ggufsurgeon.scanning.verdicts.findings import PathFinding, ProbeFindings
from ggufsurgeon.scanning.windows import WINDOW
from ggufsurgeon.statistics.maximum import LEVEL

N_DRAWS = 1000
LEAST_WINDOWS = 6
LEAST_ITEMS = 2


@dataclass(frozen=True)
class Prediction:
    """The correlation of similarity and the effects of a scan's windows."""

    probe: str
    n_windows: int
    n_items: int
    """Held-out items of the scan."""
    correlation: float
    """Partial rank correlation given length; above 0, windows are better where contents are more
    similar."""
    interval: tuple[float, float]
    """95 % interval over bootstrap draws of held-out items and contents."""
    p_value: float
    """Share of placements with a correlation at least as far from 0."""
    n_placements: int
    plain: float
    """The rank correlation without regard to length."""

    @property
    def is_found(self) -> bool:
        """Whether the null is rejected and the interval excludes 0."""
        return self.p_value <= LEVEL and not self.interval[0] <= 0 <= self.interval[1]


def predict_windows(curves: Values, probe: ProbeFindings, seed: int) -> Prediction | None:
    """The prediction of a probe's windows by curves [n_contents, n_blocks].

    None if the probe has fewer than 6 scored windows or 2 held-out items, or if all windows of each
    length have equal similarity or equal effects.
    """
    is_held_out = np.array(probe.is_held_out, dtype=np.bool_)
    paths = [path for path in probe.paths if _is_scored(path, len(is_held_out))]
    if probe.is_joint or len(paths) < LEAST_WINDOWS or is_held_out.sum() < LEAST_ITEMS:
        return None
    effects = np.array([path.differences for path in paths])[:, is_held_out]
    windows = _Windows([(path.first or 0, path.end or 0) for path in paths])
    profile = curves.mean(axis=0)
    found = windows.correlation(profile, effects.mean(axis=1))
    if not np.isfinite(found):
        return None
    placed = [windows.correlation(each, effects.mean(axis=1)) for each in _placements(profile)]
    n_reached = sum(abs(each) >= abs(found) - 1e-12 for each in placed)
    return Prediction(
        probe=probe.probe,
        n_windows=len(paths),
        n_items=int(is_held_out.sum()),
        correlation=found,
        interval=_interval(windows, curves, effects, seed),
        p_value=n_reached / len(placed),
        n_placements=len(placed),
        plain=_correlation(_ranks(windows.means(profile)), _ranks(effects.mean(axis=1))),
    )


def _is_scored(path: PathFinding, n_items: int) -> bool:
    is_window = path.kind == WINDOW and path.first is not None
    is_whole = len(path.differences) == n_items and not path.left_race
    return is_window and is_whole and bool(np.isfinite(path.differences).all())


class _Windows:
    """Windows, grouped by their length."""

    def __init__(self, windows: Sequence[tuple[int, int]]) -> None:
        self._first, self._end = np.array(windows).T
        _, self._of_length = np.unique(self._end - self._first, return_inverse=True)
        self._n = np.bincount(self._of_length)

    def means(self, profile: Values) -> Values:
        """The mean of a profile, [n_blocks], in each window."""
        sums = np.concatenate([[0.0], profile.cumsum()])
        return np.asarray((sums[self._end] - sums[self._first]) / (self._end - self._first))

    def correlation(self, profile: Values, effects: Values) -> float:
        """The partial rank correlation given length; NaN if either has no variance."""
        ranks = self._within_length(self.means(profile)), self._within_length(effects)
        return _correlation(*ranks)

    def _within_length(self, values: Values) -> Values:
        ranks = _ranks(values)
        means = np.bincount(self._of_length, ranks) / self._n
        return np.asarray(ranks - means[self._of_length])


def _placements(profile: Values) -> list[Values]:
    """The profile, and all of its rotations and reversals."""
    return [
        np.roll(one, shift) for one in (profile, profile[::-1]) for shift in range(len(profile))
    ]


def _interval(windows: _Windows, curves: Values, effects: Values, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(N_DRAWS):
        contents = generator.integers(0, len(curves), len(curves))
        items = generator.integers(0, effects.shape[1], effects.shape[1])
        profile, means = curves[contents].mean(axis=0), effects[:, items].mean(axis=1)
        drawn.append(windows.correlation(profile, means))
    low, high = np.nanpercentile(drawn, [TAIL, 100 - TAIL])
    return float(low), float(high)


def _ranks(values: Values) -> Values:
    """Ranks from 0; equal values get the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return np.asarray((ends - (counts + 1) / 2)[places], dtype=np.float64)


def _correlation(one: Values, other: Values) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / scale) if scale > 1e-9 else float("nan")
