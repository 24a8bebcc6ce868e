"""The page and the picture of a race: no figure that a race has not, and when paths left it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from ggufsurgeon.reporting.scan_findings.spans import luck_reach
from ggufsurgeon.reporting.scan_findings.words import ON_FEWER_ITEMS, State, remark, state_of
from ggufsurgeon.reporting.scan_page.page import scan_page
from ggufsurgeon.reporting.scan_picture.picture import scan_figure, scan_picture
from ggufsurgeon.scanning.verdicts.findings import PathFinding, ScanFindings
from ggufsurgeon.statistics.estimate import mean_of
from tests.reporting.markup import Page
from tests.reporting.scanned import scan

LEFT = "left the race after 4 of 7 search items"


def left(path: PathFinding) -> PathFinding:
    known = path.differences[:4]
    search = mean_of(list(known))
    return replace(path, differences=known, search=search, held_out=None, z=None, left_race=LEFT)


@pytest.fixture
def raced() -> ScanFindings:
    """A scan of which the best four paths ended the race."""
    findings = scan()
    (probe,) = findings.probes
    paths = [replace(path, p_value=None) for path in probe.paths]
    paths = [*paths[:4], *map(left, paths[4:])]
    told = replace(probe, paths=tuple(paths), luck_z=math.nan, is_race=True)
    return replace(findings, probes=(told,))


def test_the_page_of_a_race(raced: ScanFindings) -> None:
    page = scan_page(raced, "ggufsurgeon report scan.db")
    script = page.index("<script")
    assert "nan" not in page[:script].lower() and '"nan"' not in page.lower()
    assert page.count(LEFT) >= len(raced.probes[0].paths) - 4
    assert "judged by the held-out items alone" in page and "p: family-wise" not in page
    assert "of them on fewer items" in page
    marks = Page(page)
    n_left = len(raced.probes[0].paths) - 4
    assert len(marks.all("rect", "left-race", within="svg.plot")) == n_left
    assert {found.text for found in marks.all("li")} == {ON_FEWER_ITEMS}
    bars = [found for found in marks.all("rect", "bar") if "left-race" in found.classes]
    assert len(bars) >= 11 and f"Pale bars: {ON_FEWER_ITEMS}." in page


def test_the_picture_of_a_race(raced: ScanFindings) -> None:
    assert "nan" not in scan_picture(raced, 0, "svg").decode().lower()
    path = raced.probes[0].paths[0]
    assert luck_reach(path, math.nan) == 0.0
    ranking = scan_figure(raced, 0).axes[1]
    assert all(math.isfinite(end) for end in ranking.get_xlim())
    told = [text.get_text() for text in ranking.texts]
    assert not any(text.startswith("p ") or "5 % bound" in text for text in told)
    windows = [path for path in raced.probes[0].paths if path.kind == "window"]
    (hollow,) = [
        line for line in scan_figure(raced, 0).axes[0].lines if line.get_label() == ON_FEWER_ITEMS
    ]
    assert len(np.asarray(hollow.get_xydata())) == sum(bool(each.left_race) for each in windows)


def test_a_path_that_left_is_drawn_and_says_so(raced: ScanFindings) -> None:
    path = raced.probes[0].paths[-1]
    assert state_of(path) is State.SCORED and remark(path) == LEFT
