"""Headings, axes and notes that all panels of a picture share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggufsurgeon.reporting.lettering import MINUS
from ggufsurgeon.reporting.style import QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_heading(axes: Axes, heading: str, note: str) -> None:
    """Write a heading and a note of one line above the axes."""
    axes.set_title(heading, pad=19)
    axes.annotate(
        note,
        (0, 1),
        xytext=(0, 6),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8.5,
        color=QUIET,
    )


def count_along(axes: Axes, first: int, n: int, label: str) -> None:
    """Count `n` places from `first` along the horizontal axis, in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    last, margin = first + n - 1, max(0.6, 0.01 * n, 3 - n / 2)
    ticks = MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]).tick_values(first, last)
    within = [int(tick) for tick in ticks if first <= tick <= last]
    axes.set_xticks(within, [f"{tick:,}" for tick in within])
    axes.set_xlim(first - margin, last + margin)
    axes.set_xlabel(label)


def name_ticks(axes: Axes, label: str, sign: str = "") -> None:
    """Label the left axis; its numbers are written in full, with a plus sign for sign "+"."""
    from matplotlib.ticker import FuncFormatter

    def name(value: float, _: int | None) -> str:
        value = round(value, 9) + 0.0  # no -0
        shown = sign if value else ""
        if abs(value) < 1e6:
            return f"{value:{shown},.9f}".rstrip("0").rstrip(".").replace("-", MINUS)
        return f"{value:{shown}g}".replace("-", MINUS)

    axes.yaxis.set_major_formatter(FuncFormatter(name))
    axes.set_ylabel(label)


def left_out(n: int) -> str:
    """The end of a note that counts the numbers that cannot be drawn."""
    return f"; {n:,} infinite, not drawn" if n else ""
