"""A colour scale for differences: symmetric about 0, in steps, with ends that outliers leave alone.

The windows of a scan differ by orders of magnitude: most harm a little, some ruin the model, and
what is looked for is a small gain. So steps are even in the square root of a difference, and the
scale ends at a percentile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

N_STEPS: Final = 8
"""Steps on each side of the step around 0."""
CLIP_PERCENT: Final = 75
"""Percentile of the sizes of differences at which the scale ends."""


@dataclass(frozen=True)
class DivergingScale:
    """Steps from -N_STEPS, the worst, to N_STEPS, the best."""

    limit: float
    """The difference from which on all have the last step; above 0."""
    n_beyond: int
    """Differences that lie beyond the limit on either side."""

    def step(self, difference: float) -> int:
        """The step of a difference, which is a number."""
        share = min(1.0, abs(difference) / self.limit)
        return int(math.copysign(math.floor(N_STEPS * math.sqrt(share) + 0.5), difference))

    def boundaries(self) -> list[float]:
        """The 2 N_STEPS differences between the steps, ascending."""
        above = [self.limit * ((k - 0.5) / N_STEPS) ** 2 for k in range(1, N_STEPS + 1)]
        return [-each for each in reversed(above)] + above


def scale_for(differences: Iterable[float]) -> DivergingScale:
    """The scale for some differences, of which those that are no numbers do not count."""
    sizes = sorted(abs(each) for each in differences if math.isfinite(each))
    if not sizes:
        return DivergingScale(1.0, 0)
    limit = sizes[math.ceil(len(sizes) * CLIP_PERCENT / 100) - 1] or sizes[-1] or 1.0
    return DivergingScale(limit, sum(size > limit for size in sizes))


def step_colours(worst: str, neutral: str, best: str) -> dict[int, str]:
    """A colour `#RRGGBB` for each step, between those of the ends and of the middle."""
    ends = {-1: worst, 1: best}
    colours = {0: neutral}
    for side, end in ends.items():
        for k in range(1, N_STEPS + 1):
            colours[side * k] = _between(neutral, end, k / N_STEPS)
    return dict(sorted(colours.items()))


def _between(one: str, other: str, share: float) -> str:
    pairs = zip(_channels(one), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02X}" for a, b in pairs)


def _channels(colour: str) -> list[int]:
    return [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
