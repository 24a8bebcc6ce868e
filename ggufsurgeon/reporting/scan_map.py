"""The map of windows in a picture, in RYS's orientation: start I downwards, end J to the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.reporting.diverging import (
    CLIP_PERCENT,
    DivergingScale,
    scale_for,
    step_colours,
)
from ggufsurgeon.reporting.lettering import MINUS
from ggufsurgeon.reporting.panel import write_heading
from ggufsurgeon.reporting.scan_words import (
    HEADINGS,
    State,
    has_map,
    is_significant,
    state_of,
)
from ggufsurgeon.reporting.style import BETTER, INK, QUIET, WORSE
from ggufsurgeon.scanning.findings import PathFinding
from ggufsurgeon.statistics.maximum import LEVEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

NEUTRAL: Final = "#F0F0EE"
Window: TypeAlias = tuple[int, int]
Cells: TypeAlias = dict[Window, PathFinding]
PLOT_POINTS: Final = 300
"""About the width of the map, for the size of marks in it."""


class Mark(NamedTuple):
    """A mark on some cells, which says what colour does not."""

    meaning: str
    places: Callable[[Cells, int], list[Window]]
    """Of all cells and the number of blocks."""
    marker: Any
    size: float
    """Of a cell."""
    face: str

    def style(self) -> dict[str, Any]:
        """Of a line that has nothing but marks."""
        return {
            "linestyle": "",
            "marker": self.marker,
            "markerfacecolor": self.face,
            "markeredgecolor": INK,
            "markeredgewidth": 0.9,
        }


def kind_of_map(paths: Sequence[PathFinding]) -> str | None:
    """The kind of window to draw: what is repeated before what is dropped; None for none."""
    return next((kind for kind in HEADINGS if has_map(paths, kind)), None)


def draw_map(axes: Axes, paths: Sequence[PathFinding], kind: str, n_blocks: int, unit: str) -> None:
    """Draw all windows of a kind: colours for differences, marks for all else."""
    cells: Cells = {}
    for path in paths:
        if path.kind == kind and path.first is not None and path.end is not None:
            cells.setdefault((path.first, path.end), path)
    values = np.full((n_blocks, n_blocks), np.nan)
    for (first, end), path in cells.items():
        if state_of(path) is State.SCORED and path.search is not None:
            values[first, end - 1] = path.search.value
    scale = scale_for(values.ravel().tolist())
    _add_colour_bar(axes, _draw_cells(axes, values, scale), scale)
    _draw_marks(axes, cells, n_blocks)
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xlabel("end J of the window (exclusive)")
    axes.set_ylabel("start I of the window")
    note = f"mean difference, {unit}; colours end at percentile {CLIP_PERCENT}"
    write_heading(axes, HEADINGS[kind], note)


def _draw_cells(axes: Axes, values: npt.NDArray[np.float64], scale: DivergingScale) -> QuadMesh:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    n = len(values)
    colours = list(step_colours(WORSE, NEUTRAL, BETTER).values())
    inner = scale.boundaries()
    edges = [inner[0] - scale.limit, *inner, inner[-1] + scale.limit]
    clipped = np.clip(values, -scale.limit, scale.limit)
    mesh = axes.pcolormesh(
        np.arange(n + 1) + 0.5,
        np.arange(n + 1) - 0.5,
        np.ma.masked_invalid(clipped),
        cmap=ListedColormap(colours),
        norm=BoundaryNorm(edges, len(colours)),
    )
    axes.invert_yaxis()
    return mesh


def _add_colour_bar(axes: Axes, mesh: QuadMesh, scale: DivergingScale) -> None:
    """Into the corner that no window is in."""
    inset = axes.inset_axes((0.04, 0.1, 0.4, 0.03))
    bar = axes.figure.colorbar(mesh, cax=inset, orientation="horizontal", spacing="uniform")
    inset.minorticks_off()
    boundaries = scale.boundaries()
    ticks = [boundaries[0], 0.0, boundaries[-1]]
    bar.set_ticks(ticks, labels=[_signed(tick) for tick in ticks])
    inset.tick_params(labelsize=8)
    inset.set_title("worse", fontsize=8, loc="left")
    inset.set_title("better", fontsize=8, loc="right")


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", MINUS) if value else "0"


def _draw_marks(axes: Axes, cells: Cells, n_blocks: int) -> None:
    """Draw marks on cells, and what they mean above the colour bar."""
    from matplotlib.lines import Line2D

    meanings = []
    for mark in MARKS:
        places = mark.places(cells, n_blocks)
        if not places:
            continue
        first, end = zip(*places, strict=True)
        size = mark.size * PLOT_POINTS / n_blocks
        axes.plot(end, first, markersize=size, label=mark.meaning, **mark.style())
        meanings.append(Line2D([], [], markersize=5, label=mark.meaning, **mark.style()))
    if meanings:
        axes.legend(
            handles=meanings,
            loc="lower left",
            bbox_to_anchor=(0.02, 0.19),
            frameon=False,
            fontsize=8,
            handletextpad=0.2,
        )


def _missing(cells: Cells, n_blocks: int) -> list[Window]:
    windows = [(i, j) for i in range(n_blocks) for j in range(i + 1, n_blocks + 1)]
    return [each for each in windows if each not in cells or state_of(cells[each]) is State.MISSING]


def _unscored(cells: Cells, _: int) -> list[Window]:
    return [each for each, path in cells.items() if state_of(path) is State.UNSCORED]


def _not_writable(cells: Cells, _: int) -> list[Window]:
    return [each for each, path in cells.items() if path.not_writable]


def _sure(cells: Cells, _: int) -> list[Window]:
    return [each for each, path in cells.items() if is_significant(path)]


MARKS: Final = (
    Mark("not scanned", _missing, ".", 0.25, QUIET),
    Mark("no score", _unscored, "x", 0.6, INK),
    Mark("not writable", _not_writable, (2, 2, -45), 1.0, INK),
    Mark(f"p below {LEVEL}", _sure, "o", 0.35, "white"),
)
