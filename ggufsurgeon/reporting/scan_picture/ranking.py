"""The best paths of a scan in a picture: two intervals each, and how far luck would reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ggufsurgeon.reporting.lettering import writable
from ggufsurgeon.reporting.panel import write_heading
from ggufsurgeon.reporting.scan_findings.spans import (
    Span,
    interval,
    luck_reach,
    path_interval,
    span_of_most,
)
from ggufsurgeon.reporting.scan_findings.words import is_significant, p_text, path_name
from ggufsurgeon.reporting.style import BAND, INK, MODEL, QUIET
from ggufsurgeon.scanning.verdicts.findings import PathFinding
from ggufsurgeon.statistics.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST_NAME: Final = 20
HALF: Final = 0.17
"""From the middle of a row to each of its two intervals, in rows."""


def draw_ranking(axes: Axes, paths: Sequence[PathFinding], luck_z: float, unit: str) -> None:
    """Draw some paths from top to bottom."""
    span = span_of_most([path_interval(path, luck_z) for path in paths], n_kept=1)
    for row, path in enumerate(paths):
        axes.barh(row, luck_reach(path, luck_z), height=0.8, color=BAND, zorder=0.5)
        for estimate, place, colour, marker in (
            (path.search, row - HALF, INK, "o"),
            (path.held_out, row + HALF, MODEL.colour, "s"),
        ):
            if estimate is not None:
                _draw_interval(axes, estimate, place, span, colour, marker)
    axes.axvline(0, color=QUIET, linewidth=0.8)
    axes.set_xlim(span.low, span.high)
    axes.set_ylim(len(paths) - 0.4, -0.6)
    axes.grid(False)
    axes.set_yticks(range(len(paths)), [_short(path_name(path)) for path in paths])
    _write_p_values(axes, paths)
    ticks = span.ticks(5)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel(f"difference, {unit}")
    note = "● search items, □ held-out items, mean ± 2 standard errors"
    if math.isfinite(luck_z):
        note += "; grey: 5 % bound"
    write_heading(axes, f"Best {len(paths)}", note)


def _draw_interval(
    axes: Axes, estimate: Estimate, row: float, span: Span, colour: str, marker: str
) -> None:
    """A mean ± 2 standard errors; an arrow for a mean that is not on the axis."""
    if not span.holds(estimate.value):
        edge, arrow = (span.low, "<") if estimate.value < span.low else (span.high, ">")
        axes.plot(edge, row, color=colour, marker=arrow, markersize=5, clip_on=False)
        return
    axes.plot(interval(estimate), [row, row], color=colour, linewidth=1.2)
    face = colour if marker == "o" else "white"
    axes.plot(
        estimate.value, row, color=colour, marker=marker, markerfacecolor=face, markersize=4.5
    )


def _write_p_values(axes: Axes, paths: Sequence[PathFinding]) -> None:
    """To the right of each row that has one."""
    for row, path in enumerate(paths):
        if path.p_value is None:
            continue
        axes.text(
            1.02,
            row,
            f"p {p_text(path.p_value)}",
            transform=axes.get_yaxis_transform(),
            verticalalignment="center",
            fontsize=8,
            fontweight="bold" if is_significant(path) else "normal",
        )


def _short(name: str) -> str:
    text = writable(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
