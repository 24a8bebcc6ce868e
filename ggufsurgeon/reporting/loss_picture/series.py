"""Series of numbers: the part that can be drawn, running means, limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Series: TypeAlias = npt.NDArray[np.float64]
GREATEST: Final = 1e100
"""Beyond it nothing is drawn: squares and sums have to stay floats."""
FEW: Final = 40
"""Largest number of points drawn without a running mean."""


def drawable(values: Sequence[float]) -> Series:
    """The values, with NaN, which leaves a gap, in place of those beyond GREATEST."""
    found = np.array(values, dtype=np.float64)
    found[~(np.abs(found) < GREATEST)] = np.nan
    return found


def running_window(n: int) -> int:
    """The odd number of neighbours to average over in a series of `n`; 1 for a short one."""
    return 1 if n <= FEW else n // 10 | 1


def running_mean(values: Series, window: int) -> Series:
    """Means of `window` neighbours, shape [n - window + 1]; NaN where one of them is."""
    means: Series = np.lib.stride_tricks.sliding_window_view(values, window).mean(axis=1)
    return means


def limits(*series: Series, least: float) -> tuple[float, float]:
    """The lowest and the highest value, at least `least` apart; around 0 for no values."""
    known = np.concatenate([values[np.isfinite(values)] for values in series])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    missing = max(least, 0.01 * abs(low)) - (high - low)
    widened = max(0.0, missing / 2)
    return low - widened, high + widened


def n_left_out(*series: Series) -> int:
    """The number of values that cannot be drawn."""
    return sum(int(np.isnan(values).sum()) for values in series)
