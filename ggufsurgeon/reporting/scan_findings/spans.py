"""Axes that hold intervals: their ends, and round numbers along them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ggufsurgeon.reporting.lettering import MINUS
from ggufsurgeon.scanning.verdicts.findings import PathFinding
from ggufsurgeon.statistics.estimate import Estimate

N_ERRORS = 2
"""Standard errors that an interval reaches to either side."""

STRETCH = 6
"""Times that an interval may reach further than the median one before an axis ends short of it."""


@dataclass(frozen=True)
class Span:
    """The values between the two ends of an axis."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Where a value stands, 0 at the low end and 1 at the high one, at which others are cut."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def holds(self, value: float) -> bool:
        """Whether a value is on the axis."""
        return self.low <= value <= self.high

    def ticks(self, most: int) -> dict[float, str]:
        """Round values within, at most `most`, and how they are written."""
        rough = (self.high - self.low) / most
        magnitude = 10.0 ** math.floor(math.log10(rough))
        step = next(k * magnitude for k in (1, 2, 5, 10) if k * magnitude >= rough)
        n_decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return {k * step: _written(k * step, n_decimals) for k in range(first, last + 1)}


def interval(estimate: Estimate) -> tuple[float, float]:
    """The ends of mean ± 2 standard errors; the mean twice where there is no error."""
    reach = N_ERRORS * (estimate.error or 0.0)
    return estimate.value - reach, estimate.value + reach


def luck_reach(path: PathFinding, luck_z: float) -> float:
    """The mean that the best of all paths would reach by luck, with this path's error.

    0 where that is not known, as in a race.
    """
    if not math.isfinite(luck_z):
        return 0.0
    error = path.search.error if path.search is not None else None
    return luck_z * (error or 0.0)


def path_interval(path: PathFinding, luck_z: float) -> tuple[float, float]:
    """The ends of all that is drawn of a path."""
    estimates = [each for each in (path.search, path.held_out) if each is not None]
    ends = [end for each in estimates for end in interval(each)]
    ends.append(luck_reach(path, luck_z))
    return min(ends), max(ends)


def span_of(values: Iterable[float]) -> Span:
    """The span of all finite values and 0, with a little room."""
    known = [0.0] + [value for value in values if math.isfinite(value)]
    low, high = min(known), max(known)
    room = 0.04 * (high - low) or 1.0
    return Span(low - room, high + room)


def span_of_most(intervals: Sequence[tuple[float, float]], n_kept: int = 0) -> Span:
    """The span of intervals without those that reach very much further from 0 than most do.

    The first `n_kept` are always within.
    """
    reaches = sorted(max(map(abs, each)) for each in intervals)
    limit = STRETCH * reaches[len(reaches) // 2] if reaches else 0.0
    kept = [each for k, each in enumerate(intervals) if k < n_kept or max(map(abs, each)) <= limit]
    return span_of(end for each in kept for end in each)


def _written(value: float, n_decimals: int) -> str:
    return f"{value:+.{n_decimals}f}".replace("-", MINUS) if value else "0"
