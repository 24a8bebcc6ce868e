"""The picture of `ggufsurgeon scan`: the map of windows, and the best paths."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from ggufsurgeon.reporting.head import write_title
from ggufsurgeon.reporting.lettering import counted, writable
from ggufsurgeon.reporting.scan_map import draw_map, kind_of_map
from ggufsurgeon.reporting.scan_ranking import draw_ranking
from ggufsurgeon.reporting.scan_words import ranked
from ggufsurgeon.reporting.style import drawn, house_style
from ggufsurgeon.scanning.findings import ProbeFindings, ScanFindings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES: Final = (12.0, 6.6)
N_BEST: Final = 15
LINE_LENGTH: Final = 150
MOST_LINES: Final = 3


def scan_picture(findings: ScanFindings, probe_index: int, picture_format: str) -> bytes:
    """A picture in one of `formats.FORMATS`; the same bytes for the same arguments."""
    return drawn(scan_figure(findings, probe_index), picture_format)


def scan_figure(findings: ScanFindings, probe_index: int) -> Figure:
    """A figure of one probe: its verdict, its map if it has windows, and its best paths."""
    from matplotlib.figure import Figure

    probe = findings.probes[probe_index]
    kind = kind_of_map(probe.paths)
    best = [path for _, path in ranked(probe.paths)[:N_BEST]]
    with house_style():
        figure = Figure(figsize=INCHES)
        write_title(figure, f"Scan of {findings.model}", _lines(findings, probe))
        n_panels = (kind is not None) + bool(best)
        if kind is not None:
            axes = figure.add_subplot(1, n_panels, 1)
            draw_map(axes, probe.paths, kind, findings.n_blocks, probe.unit)
        if best:
            axes = figure.add_subplot(1, n_panels, n_panels)
            draw_ranking(axes, best, probe.luck_z, probe.unit)
    return figure


def _lines(findings: ScanFindings, probe: ProbeFindings) -> list[str]:
    """The verdict, and what was scanned."""
    verdict = textwrap.wrap(
        writable(probe.verdict), LINE_LENGTH, max_lines=MOST_LINES, placeholder=" …"
    )
    n_held_out = sum(probe.is_held_out)
    n_search = len(probe.is_held_out) - n_held_out
    facts = (
        f"{findings.architecture}, {counted(findings.n_blocks, 'block')}; probe {probe.probe}: "
        f"{counted(len(ranked(probe.paths)), 'path')} on {n_search:,} search and {n_held_out:,} "
        "held-out items"
    )
    return [*verdict, writable(facts)]
