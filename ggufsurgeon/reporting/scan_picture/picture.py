"""The picture of `ggufsurgeon scan`: the map of windows, and the best paths."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from ggufsurgeon.reporting.head import write_title
from ggufsurgeon.reporting.lettering import counted, writable
from ggufsurgeon.reporting.scan_findings.kinds import of_its_scan
from ggufsurgeon.reporting.scan_findings.words import joint_note, measure, ranked, verdict_text
from ggufsurgeon.reporting.scan_picture.map import draw_map, kind_of_map
from ggufsurgeon.reporting.scan_picture.ranking import draw_ranking
from ggufsurgeon.reporting.style import drawn, house_style
from ggufsurgeon.scanning.verdicts.findings import ProbeFindings, ScanFindings

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

    probe = of_its_scan(findings.probes[probe_index])
    kind = kind_of_map(probe.paths)
    best = [path for _, path in ranked(probe.paths)[:N_BEST]]
    with house_style():
        figure = Figure(figsize=INCHES)
        write_title(figure, f"Scan of {findings.model}", _lines(findings, probe))
        n_panels = (kind is not None) + bool(best)
        if kind is not None:
            axes = figure.add_subplot(1, n_panels, 1)
            draw_map(axes, probe.paths, kind, findings.n_blocks, measure(probe))
        if best:
            axes = figure.add_subplot(1, n_panels, n_panels)
            draw_ranking(axes, best, probe.luck_z, probe.unit)
    return figure


def _lines(findings: ScanFindings, probe: ProbeFindings) -> list[str]:
    """The verdict, and what was scanned."""
    verdict = textwrap.wrap(
        writable(verdict_text(probe)), LINE_LENGTH, max_lines=MOST_LINES, placeholder=" …"
    )
    model = f"{findings.architecture}, {counted(findings.n_blocks, 'block')}"
    facts = f"{model}; probe {probe.probe}: {_scored(probe)}"
    return [*verdict, writable(facts)]


def _scored(probe: ProbeFindings) -> str:
    """How many paths were scored, and on what."""
    paths = counted(len(ranked(probe.paths)), "path")
    if probe.is_joint:
        return f"{paths}; {joint_note(probe)}"
    n_held_out = sum(probe.is_held_out)
    n_search = len(probe.is_held_out) - n_held_out
    n_left = sum(bool(path.left_race) for path in probe.paths)
    left = f", {n_left:,} of the paths on fewer items" if n_left else ""
    return f"{paths} on {n_search:,} search and {counted(n_held_out, 'held-out item')}{left}"
