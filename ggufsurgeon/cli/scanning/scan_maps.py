"""Maps of windows and bars of dropped blocks, in plain characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ggufsurgeon.cli.output.terminal import print_text
from ggufsurgeon.reporting.scan_findings.single_drops import single_drops
from ggufsurgeon.reporting.scan_findings.spans import interval, span_of_most
from ggufsurgeon.reporting.scan_findings.words import HEADINGS, State, has_map, state_of

if TYPE_CHECKING:
    from ggufsurgeon.scanning.verdicts.findings import PathFinding, ProbeFindings

OF_Z = {
    "#": "above the 5 % bound",
    "+": "above 2",
    ".": "from -2 to 2",
    "-": "below -2",
    "=": "below minus the bound",
}
OF_OTHERS = {"~": "left the race", "x": "no score", "?": "not scanned yet"}
WIDEST_MAP = 100
"""Largest number of blocks of a map, in characters of a line."""
WIDEST_BAR = 40


def print_maps(probe: ProbeFindings, n_blocks: int) -> None:
    """Print a map of each kind of windows: a row for each I, a column for each J."""
    if n_blocks > WIDEST_MAP:
        return
    for kind, heading in HEADINGS.items():
        paths = [path for path in probe.paths if path.kind == kind]
        if len(paths) >= n_blocks - 1 and has_map(paths, kind):
            _print_map(heading, _rows(paths, n_blocks, probe.luck_z))


def _rows(paths: Sequence[PathFinding], n_blocks: int, luck_z: float) -> list[list[str]]:
    rows = [[" "] * n_blocks for _ in range(n_blocks)]
    for path in reversed(paths):  # of a window that ran two and three times, the better shows
        if path.first is not None and path.end is not None:
            rows[path.first][path.end - 1] = _mark(path, luck_z)
    return rows


def _print_map(heading: str, rows: Sequence[Sequence[str]]) -> None:
    used = {mark for row in rows for mark in row}
    parts = []
    for prefix, marks in (("z: ", OF_Z), ("", OF_OTHERS)):
        words = [f"{mark} {meaning}" for mark, meaning in marks.items() if mark in used]
        parts += [prefix + ", ".join(words)] if words else []
    print_text(f"{heading}; rows are I from 0, columns are J from 1")
    print_text("; ".join(parts))
    for first, row in enumerate(rows):
        print_text(f"{first:4} {''.join(row)}".rstrip())
    print_text("")


def _mark(path: PathFinding, luck_z: float) -> str:
    z = path.z
    if z is None:
        if state_of(path) is State.MISSING:
            return "?"
        return "~" if path.left_race else "x"
    if abs(z) <= 2:
        return "."
    if z > 0:
        return "#" if z > luck_z else "+"
    return "=" if z < -luck_z else "-"


def print_bars(probe: ProbeFindings) -> None:
    """Print a bar for each block that was dropped alone, unless there is but one."""
    drops = single_drops(probe.paths)
    if len(drops) < 2:
        return
    span = span_of_most([interval(drop.found) for drop in drops])
    within = [abs(drop.found.value) for drop in drops if span.holds(drop.found.value)]
    reach = max(within, default=0.0)
    words = [f"+ better, - worse without it, {probe.unit}"]
    if len(within) < len(drops):
        words.append("> beyond the scale")
    if any(drop.path.left_race for drop in drops):
        words.append("~ left the race")
    print_text(f"Each block dropped; {', '.join(words)}")
    for drop in drops:
        value = drop.found.value
        bar = _bar(value, reach) + (" ~" if drop.path.left_race else "")
        print_text(f"{drop.block:4} {value:+10.4g} {bar}".rstrip())
    print_text("")


def _bar(value: float, reach: float) -> str:
    """As long as the value, which may lie beyond the reach of the longest bar."""
    sign = "+" if value > 0 else "-"
    if abs(value) > reach:
        return sign * (WIDEST_BAR - 1) + ">"
    return sign * round(WIDEST_BAR * abs(value) / reach) if reach else ""
