"""Curves of losses in nats per token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ggufsurgeon.reporting.loss_picture.exponential_axis import add_exponential_axis
from ggufsurgeon.reporting.loss_picture.series import (
    Series,
    limits,
    n_left_out,
    running_mean,
    running_window,
)
from ggufsurgeon.reporting.panel import count_along, left_out, name_ticks, write_heading
from ggufsurgeon.reporting.style import Pen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST: Final = 0.1
"""Shortest range of an axis in nats: a shorter one would show rounding as peaks."""


class Curve(NamedTuple):
    """Losses in nats, NaN where there is a gap, and the pen that draws them."""

    losses: Series
    pen: Pen


class Words(NamedTuple):
    """Texts beside curves."""

    heading: str
    place: str
    """Label of the horizontal axis."""
    each: str
    """Meaning of a single loss."""


def draw_curves(axes: Axes, curves: Sequence[Curve], first: int, words: Words) -> None:
    """Draw curves whose first loss is at the place `first` of the horizontal axis."""
    series = [curve.losses for curve in curves]
    window = running_window(len(series[0]))
    for curve in curves:
        _draw(axes, curve, first, window)
    low, high = limits(*series, least=LEAST)
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    name_ticks(axes, "loss, nats per token")
    add_exponential_axis(axes, "perplexity")
    count_along(axes, first, len(series[0]), words.place)
    each = words.each if window == 1 else f"thin: {words.each}; thick: running mean of {window}"
    write_heading(axes, words.heading, each + left_out(n_left_out(*series)))


def _draw(axes: Axes, curve: Curve, first: int, window: int) -> None:
    places = np.arange(first, first + len(curve.losses))
    colour, pale, width = curve.pen
    if window == 1:
        size = 3 + width
        axes.plot(places, curve.losses, color=colour, linewidth=width, marker="o", markersize=size)
        return
    axes.plot(places, curve.losses, color=pale, linewidth=0.7, zorder=2)
    reach = window // 2
    means = running_mean(curve.losses, window)
    axes.plot(places[reach:-reach], means, color=colour, linewidth=width, zorder=3)
