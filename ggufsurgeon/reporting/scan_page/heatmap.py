"""The map of windows: start I downwards, end J to the right, as RYS draws it.

A cell is one unit of the drawing; numbers and titles of the axes stand around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ggufsurgeon.reporting.block_ticks import tick_step
from ggufsurgeon.reporting.scan_findings.cell_marks import CellMark, marks_of
from ggufsurgeon.reporting.scan_findings.diverging import DivergingScale, scale_for
from ggufsurgeon.reporting.scan_findings.words import (
    State,
    estimate_text,
    p_text,
    path_name,
    state_of,
    z_text,
)
from ggufsurgeon.reporting.scan_page.legend import cell_mark, legend, step_class
from ggufsurgeon.reporting.scan_page.markup import element, escape, percent
from ggufsurgeon.scanning.verdicts.findings import PathFinding

MOST_TICKS = 8
LEAST_PIXELS = 7
"""Width of a cell from which on a map is scrolled sideways, so that a finger can hit it."""


@dataclass(frozen=True)
class Cell:
    """A path of a map, its row and column, and its index in the probe's paths."""

    path: PathFinding
    index: int
    first: int
    end: int


def heatmap(
    paths: Sequence[PathFinding], kind: str, n_blocks: int, measured: str, title: str
) -> str:
    """The map of all paths of a kind, with its legend; `measured` says what the colours are."""
    cells = _cells(paths, kind)
    values = [
        cell.path.search.value
        for cell in cells
        if cell.path.search is not None and state_of(cell.path) is State.SCORED
    ]
    scale = scale_for(values)
    marks = {mark for cell in cells for mark in marks_of(cell.path)}
    drawing = element(
        "div",
        element("div", "start I of the window ↓", class_="title-y"),
        _ticks("y", 0, n_blocks),
        _plot(cells, scale, n_blocks, title),
        _ticks("x", 1, n_blocks),
        element("div", "end J of the window (exclusive) →", class_="title-x"),
        class_="heat",
        style=f"min-width:{LEAST_PIXELS * n_blocks + 40}px",
    )
    shown_scale = scale if values else None
    return element("div", drawing, class_="wide") + legend(shown_scale, marks, measured)


def _cells(paths: Sequence[PathFinding], kind: str) -> list[Cell]:
    """The first path, which is the best, of each window."""
    found: dict[tuple[int, int], Cell] = {}
    for index, path in enumerate(paths):
        if path.kind == kind and path.first is not None and path.end is not None:
            found.setdefault((path.first, path.end), Cell(path, index, path.first, path.end))
    return sorted(found.values(), key=lambda cell: (cell.first, cell.end))


def _plot(cells: list[Cell], scale: DivergingScale, n_blocks: int, title: str) -> str:
    tab_stop = min((cell.index for cell in cells), default=None)
    marks = [_cell(cell, scale, cell.index == tab_stop) for cell in cells]
    marks += [_overlay(cell) for cell in cells]
    keys = "arrow keys move, Enter shows the items"
    return element(
        "svg",
        *marks,
        element("rect", class_="cursor", width=1, height=1, visibility="hidden"),
        viewBox=f"0 0 {n_blocks} {n_blocks}",
        class_="plot",
        role="group",
        aria_label=f"{title}; {keys}",
    )


def _cell(cell: Cell, scale: DivergingScale, is_tab_stop: bool) -> str:
    return element(
        "rect",
        x=cell.end - 1,
        y=cell.first,
        width=1,
        height=1,
        class_=_class(cell.path, scale),
        data_path=cell.index,
        role="button",
        tabindex=0 if is_tab_stop else -1,
        aria_label=_label(cell.path),
    )


def _class(path: PathFinding, scale: DivergingScale) -> str:
    state = state_of(path)
    if state is State.SCORED and path.search is not None:
        return step_class(scale.step(path.search.value))
    return "unscored" if state is State.UNSCORED else "missing"


def _label(path: PathFinding) -> str:
    if state_of(path) is not State.SCORED:
        return f"{path_name(path)}: {path.problem or state_of(path).value}"
    figures = [
        f"search {estimate_text(path.search)}",
        f"held out {estimate_text(path.held_out)}",
        f"z {z_text(path.z)}",
        f"p {p_text(path.p_value)}",
    ]
    if path.left_race:
        figures.append(path.left_race)
    if path.not_writable:
        figures.append(f"not writable: {path.not_writable}")
    return f"{path_name(path)}: {', '.join(figures)}"


def _overlay(cell: Cell) -> str:
    """The marks over the colour of a cell."""
    over = (CellMark.LEFT_RACE, CellMark.NOT_WRITABLE, CellMark.SURE)
    marks = marks_of(cell.path)
    return "".join(cell_mark(mark, cell.end - 1, cell.first) for mark in over if mark in marks)


def _ticks(axis: str, least: int, n_blocks: int) -> str:
    """Every so many cells a number, from `least`, beside the middle of its row or column."""
    step = tick_step(n_blocks, MOST_TICKS)
    texts = []
    for value in range(0, n_blocks + 1, step):
        share = (value - least + 0.5) / n_blocks
        if not 0 < share < 1:
            continue
        place = {"y": percent(share)} if axis == "y" else {"x": percent(share), "y": "14"}
        texts.append(element("text", escape(str(value)), **place))
    return element("svg", *texts, class_=f"ticks-{axis}", aria_hidden="true")
