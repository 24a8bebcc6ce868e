"""The map of windows in a picture, in RYS's orientation: start I downwards, end J to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.reporting.lettering import signed
from ggufsurgeon.reporting.panel import write_heading
from ggufsurgeon.reporting.scan_findings.cell_marks import MEANINGS, CellMark, marks_of
from ggufsurgeon.reporting.scan_findings.diverging import (
    CLIP_PERCENT,
    DivergingScale,
    scale_for,
    step_colours,
)
from ggufsurgeon.reporting.scan_findings.words import (
    HEADINGS,
    State,
    has_map,
    state_of,
)
from ggufsurgeon.reporting.style import BETTER, INK, QUIET, WORSE
from ggufsurgeon.scanning.verdicts.findings import PathFinding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

NEUTRAL: Final = "#F0F0EE"
SEAMLESS: Final[dict[str, Any]] = {"edgecolor": "face", "linewidth": 0.8}
"""Cells that overlap a little: between others, viewers of SVG and PDF show the ground."""
Window: TypeAlias = tuple[int, int]
Cells: TypeAlias = dict[Window, PathFinding]
PLOT_POINTS: Final = 300
"""About the width of the map, for the size of marks in it."""


class Mark(NamedTuple):
    """How a mark is drawn."""

    of: CellMark
    marker: Any
    size: float
    """Of a cell."""
    face: str
    edge: str = INK
    edge_width: float = 0.9
    """Points."""

    def style(self) -> dict[str, Any]:
        """Of a line that has nothing but marks."""
        return {
            "linestyle": "",
            "marker": self.marker,
            "markerfacecolor": self.face,
            "markeredgecolor": self.edge,
            "markeredgewidth": self.edge_width,
        }


def kind_of_map(paths: Sequence[PathFinding]) -> str | None:
    """The kind of window to draw: what is repeated before what is dropped; None for none."""
    return next((kind for kind in HEADINGS if has_map(paths, kind)), None)


def draw_map(
    axes: Axes, paths: Sequence[PathFinding], kind: str, n_blocks: int, measured: str
) -> None:
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
    mesh = _draw_cells(axes, values, scale)
    if np.isfinite(values).any():
        _add_colour_bar(axes, mesh, scale)
    _draw_marks(axes, cells, n_blocks)
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xlabel("end J of the window (exclusive)")
    axes.set_ylabel("start I of the window")
    note = f"{measured}; colours end at percentile {CLIP_PERCENT}"
    write_heading(axes, HEADINGS[kind], note)


def _draw_cells(axes: Axes, values: npt.NDArray[np.float64], scale: DivergingScale) -> QuadMesh:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    n = len(values)
    colours = list(step_colours(WORSE, NEUTRAL, BETTER).values())
    clipped = np.clip(values, -scale.limit, scale.limit)
    mesh = axes.pcolormesh(
        np.arange(n + 1) + 0.5,
        np.arange(n + 1) - 0.5,
        np.ma.masked_invalid(clipped),
        cmap=ListedColormap(colours),
        norm=BoundaryNorm(_edges(scale), len(colours)),
        **SEAMLESS,
    )
    axes.invert_yaxis()
    return mesh


def _edges(scale: DivergingScale) -> list[float]:
    """The differences around each colour, of which the outermost lie beyond the scale."""
    inner = scale.boundaries()
    return [inner[0] - scale.limit, *inner, inner[-1] + scale.limit]


def _add_colour_bar(axes: Axes, mesh: QuadMesh, scale: DivergingScale) -> None:
    """Into the corner that no window is in."""
    inset = axes.inset_axes((0.08, 0.1, 0.36, 0.03))
    bar = axes.figure.colorbar(mesh, cax=inset, orientation="horizontal", spacing="uniform")
    inset.minorticks_off()
    if bar.solids is not None:
        bar.solids.set(**SEAMLESS)
    first, *_, last = _edges(scale)
    labels = [signed(each) for each in (-scale.limit, 0, scale.limit)]
    bar.set_ticks([first, 0, last], labels=labels)
    inset.tick_params(labelsize=8)
    inset.set_title("worse", fontsize=8, loc="left")
    inset.set_title("better", fontsize=8, loc="right")


def _draw_marks(axes: Axes, cells: Cells, n_blocks: int) -> None:
    """Draw marks on cells, and what they mean above the colour bar."""
    from matplotlib.lines import Line2D

    meanings = []
    for mark in MARKS:
        places = [window for window, path in cells.items() if mark.of in marks_of(path)]
        if not places:
            continue
        first, end = zip(*places, strict=True)
        size = mark.size * PLOT_POINTS / n_blocks
        axes.plot(end, first, markersize=size, label=MEANINGS[mark.of], **mark.style())
        meanings.append(Line2D([], [], markersize=5, label=MEANINGS[mark.of], **mark.style()))
    if meanings:
        axes.legend(
            handles=meanings,
            loc="lower left",
            bbox_to_anchor=(0.06, 0.19),
            frameon=False,
            fontsize=8,
            handletextpad=0.2,
        )


MARKS: Final = (
    Mark(CellMark.MISSING, ".", 0.25, QUIET),
    Mark(CellMark.UNSCORED, "x", 0.6, INK),
    Mark(CellMark.LEFT_RACE, "s", 0.45, "white", QUIET, 0.6),
    Mark(CellMark.NOT_WRITABLE, (2, 2, -45), 1.0, INK),
    Mark(CellMark.SURE, "o", 0.35, "white"),
)
