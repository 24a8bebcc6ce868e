"""The picture of a scan: what is drawn is what was found."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from ggufsurgeon.reporting.formats import FORMATS
from ggufsurgeon.reporting.scan_page.page import scan_page
from ggufsurgeon.reporting.scan_picture.picture import N_BEST, scan_figure, scan_picture
from ggufsurgeon.reporting.style import house_style
from ggufsurgeon.scanning.verdicts.findings import ScanFindings
from ggufsurgeon.statistics.estimate import Estimate
from tests.reporting.markup import Page
from tests.reporting.scanned import (
    HOSTILE,
    NOT_WRITABLE,
    PLANNED,
    REFUSED,
    scan,
    with_gaps,
)
from tests.reporting.test_formats import MAGIC


def panels(findings: ScanFindings) -> list[Axes]:
    return scan_figure(findings, 0).axes


def marks(axes: Axes, meaning: str) -> list[tuple[int, int]]:
    """The windows that have a mark."""
    return [
        (int(first), int(end))
        for line in axes.lines
        if str(line.get_label()).startswith(meaning)
        for end, first in np.asarray(line.get_xydata())
    ]


@pytest.mark.parametrize("picture_format", FORMATS)
def test_a_picture_of_each_format_is_the_same_each_time(picture_format: str) -> None:
    findings = with_gaps(scan(9, 12))
    picture = scan_picture(findings, 0, picture_format)
    assert picture.startswith(MAGIC[picture_format])
    assert scan_picture(findings, 0, picture_format) == picture


def test_every_window_has_its_place_and_its_difference() -> None:
    findings = with_gaps(scan(9, 12))
    axes = panels(findings)[0]
    (mesh,) = [each for each in axes.collections if isinstance(each, QuadMesh)]
    values = np.ma.filled(np.ma.asarray(mesh.get_array()).astype(float), np.nan).reshape(9, 9)
    scored = {
        (path.first, path.end): path.search.value
        for path in findings.probes[0].paths
        if path.kind == "window" and path.search is not None
    }
    limit = np.nanmax(np.abs(values))
    for i in range(9):
        for j in range(1, 10):
            expected = np.clip(scored.get((i, j), math.nan), -limit, limit)
            assert values[i, j - 1] == pytest.approx(expected, nan_ok=True)
    left, right = axes.get_xlim()
    below, above = axes.get_ylim()
    assert (left, right, below, above) == (0.5, 9.5, 8.5, -0.5)


def test_marks_tell_what_colour_does_not() -> None:
    findings = with_gaps(scan(9, 12))
    axes = panels(findings)[0]
    assert marks(axes, "not scanned") == [PLANNED]
    assert marks(axes, "no score") == [REFUSED]
    assert marks(axes, "can be run, but not written") == [NOT_WRITABLE]
    sure = [
        (path.first, path.end)
        for path in findings.probes[0].paths
        if path.kind == "window" and path.p_value is not None and path.p_value < 0.05
    ]
    assert sorted(marks(axes, "p below")) == sorted(sure) and sure
    legend = axes.get_legend()
    assert legend is not None and len(legend.get_texts()) == 4


def test_a_refused_cell_has_no_other_mark() -> None:
    findings = with_gaps(scan(9, 12))
    (probe,) = findings.probes
    paths = [replace(path, not_writable="no rule") for path in probe.paths]
    axes = panels(replace(findings, probes=(replace(probe, paths=tuple(paths)),)))[0]
    assert marks(axes, "no score") == [REFUSED]
    hatched = marks(axes, "can be run, but not written")
    assert REFUSED not in hatched and len(hatched) == 43  # of 45, one is absent


def test_page_and_picture_name_the_same_ends_of_their_scale() -> None:
    findings = scan(9, 12)
    bar = panels(findings)[0].child_axes[0]
    ends = [label.get_text() for label in bar.get_xticklabels()]
    page = Page(scan_page(findings, ""))
    numbers = [found.text for found in page.all("span", within="div.numbers")]
    assert ends == [numbers[0], "0", numbers[4]]
    (mesh,) = [each for each in bar.collections if isinstance(each, QuadMesh)]
    left, right = bar.get_xlim()
    places = [(tick - left) / (right - left) for tick in bar.get_xticks()]
    assert places == pytest.approx([0, 0.5, 1], abs=0.03) and mesh.get_linewidth()


def test_cells_of_a_vector_picture_leave_no_seam() -> None:
    svg = scan_picture(scan(9, 12), 0, "svg").decode()
    cells = re.findall(r"fill: (#[0-9a-f]{6}); stroke: (#[0-9a-f]{6}); stroke-width: 0.8", svg)
    assert len(cells) >= 45 and all(fill == stroke for fill, stroke in cells)


def test_the_best_are_drawn_with_their_intervals() -> None:
    findings = scan(9, 12)
    axes = panels(findings)[1]
    paths = findings.probes[0].paths[:N_BEST]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == f"{paths[0].first}:{paths[0].end}" and len(names) == N_BEST
    best = paths[0].search
    assert best is not None and best.error is not None
    drawn = [np.asarray(line.get_xydata()) for line in axes.lines]
    ends = [line[:, 0].tolist() for line in drawn if len(line) == 2]
    assert [best.value - 2 * best.error, best.value + 2 * best.error] in ends
    band = axes.containers[0][0]
    assert band.get_width() == findings.probes[0].luck_z * best.error


def test_nothing_runs_out_of_the_picture() -> None:
    for findings in (with_gaps(scan(9, 12)), scan(80, 10, "window")):
        figure = scan_figure(findings, 0)
        with house_style():
            figure.draw_without_rendering()
        for axes in figure.axes:
            box = axes.get_tightbbox()
            assert box is not None
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert_apart(figure)


def assert_apart(figure: Figure) -> None:
    one, other = (axes.get_tightbbox() for axes in figure.axes[:2])
    assert one is not None and other is not None and not one.overlaps(other)


def test_odd_findings_make_a_picture() -> None:
    findings = scan(3, 4)
    (probe,) = findings.probes
    path = probe.paths[0]
    odd = (
        replace(path, search=Estimate(0.5, None), held_out=None, z=None, p_value=None, cost=None),
        replace(path, kind="path", first=None, end=None, layer_path=HOSTILE + "模" * 100),
        replace(path, search=Estimate(math.nan, math.nan)),
        replace(path, search=Estimate(0.0, 0.0), held_out=Estimate(0.0, 0.0)),
        replace(path, search=Estimate(1e300, 1e299), held_out=Estimate(-1e300, math.inf)),
    )
    for paths in [(), odd, *[(each,) for each in odd]]:
        changed = replace(probe, paths=paths, verdict=HOSTILE * 100, probe="$x$\n模", unit="")
        assert scan_picture(replace(findings, model="$\x00模", probes=(changed,)), 0, "png")
