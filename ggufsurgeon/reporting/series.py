"""What of a series of numbers can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Series: TypeAlias = npt.NDArray[np.float64]
GREATEST: Final = 1e100
"""Beyond it nothing is drawn: squares and sums have to stay floats."""
FEW: Final = 40
"""So many points are each drawn as one; more need a running mean to be read."""


def drawable(values: Sequence[float]) -> Series:
    """NaN, which leaves a gap, in place of what is infinite or as good as."""
    found = np.array(values, dtype=np.float64)
    found[~(np.abs(found) < GREATEST)] = np.nan
    return found


def running_window(n: int) -> int:
    """Over how many neighbours to average a series of `n`: an odd number, 1 for a short one."""
    return 1 if n <= FEW else n // 10 | 1


def running_mean(values: Series, window: int) -> Series:
    """Means of `window` neighbours, shape [n - window + 1]; NaN where one of them is."""
    means: Series = np.lib.stride_tricks.sliding_window_view(values, window).mean(axis=1)
    return means


def limits(*series: Series, least: float) -> tuple[float, float]:
    """The lowest and the highest of all, at least `least` apart; around 0 where there is none."""
    known = np.concatenate([values[np.isfinite(values)] for values in series])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    missing = max(least, 0.01 * abs(low)) - (high - low)
    widened = max(0.0, missing / 2)
    return low - widened, high + widened


def n_left_out(*series: Series) -> int:
    """How many of all cannot be drawn."""
    return sum(int(np.isnan(values).sum()) for values in series)
