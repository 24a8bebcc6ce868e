"""A second scale, exp, for an axis in nats.

Matplotlib's own, `secondary_yaxis(functions=(exp, log))`, puts even ticks of exp into the top of a
wide range and raises ValueError beyond exp(709).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LN_10: Final = math.log(10)
MOST_TICKS: Final = 8


def add_exponential_axis(axes: Axes, label: str) -> None:
    """Add an axis on the right, for the limits that the left axis has now."""
    ticks = exponential_ticks(*axes.get_ylim())
    right = axes.secondary_yaxis("right")
    right.set_yticks(list(ticks), list(ticks.values()))
    right.spines["right"].set_visible(False)
    right.set_ylabel(label)


def exponential_ticks(low: float, high: float) -> dict[float, str]:
    """Round values of exp between two logarithms, as places and labels.

    Empty where exp exceeds a float.
    """
    furthest = max(-low, high)
    if furthest > 700:
        return {}
    if high - low > LN_10 or furthest > 7 * LN_10:
        return _by_magnitude(low / LN_10, high / LN_10)
    return _evenly(low, high)


def _by_magnitude(low: float, high: float) -> dict[float, str]:
    """Ticks at 1, 2 and 5 times powers of ten, between 10^low and 10^high."""
    mantissas = (1, 2, 5) if high - low < 3 else (1,)
    step = math.ceil((high - low) / MOST_TICKS)
    exponents = range(math.floor(low / step) * step, math.floor(high) + 1, step)
    places = {(k + math.log10(m)): _written(m, k) for k in exponents for m in mantissas}
    return {place * LN_10: text for place, text in places.items() if low <= place <= high}


def _written(mantissa: int, exponent: int) -> str:
    if -4 <= exponent < 0:
        return f"{mantissa * 10.0**exponent:.{-exponent}f}"
    return f"{mantissa * 10**exponent:,}" if 0 <= exponent < 7 else f"{mantissa}e{exponent}"


def _evenly(low: float, high: float) -> dict[float, str]:
    """Evenly spaced ticks of exp, with as many decimals as tell them apart."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(MOST_TICKS, steps=[1, 2, 5, 10])
    values = [float(value) for value in locator.tick_values(math.exp(low), math.exp(high))]
    n_decimals = max(0, -math.floor(math.log10(values[1] - values[0]) + 1e-6))
    places = {math.log(value): f"{value:,.{n_decimals}f}" for value in values if value > 0}
    return {place: text for place, text in places.items() if low <= place <= high}
