"""The section of a search on a page: figures, chart, and nothing that acts."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

from ggufsurgeon.reporting.scan_findings.words import estimate_text
from ggufsurgeon.reporting.scan_page.page import scan_page
from ggufsurgeon.scanning.search.findings import SearchFindings
from ggufsurgeon.scanning.search.judging import judge_search
from ggufsurgeon.statistics.estimate import Estimate
from tests.reporting.markup import Page
from tests.reporting.scanned import HOSTILE, scan
from tests.scanning.searching import World, run_search


@cache
def searched() -> SearchFindings:
    return judge_search(run_search(World(2, 0.5, 0.6)).data, n_replays=19)


def page_of(*found: SearchFindings) -> Page:
    return Page(scan_page(scan(6), "ggufsurgeon report scan.db", found))


def test_the_figures_of_the_best_are_in_the_table() -> None:
    page, found = page_of(searched()), searched()
    cells = [cell.text for cell in page.all("td", within="div.scroll")]
    for best in found.best:
        assert best.path.layer_path in cells and best.held_out is not None
        assert estimate_text(best.held_out) in cells
    (section,) = [one for one in page.all("section") if one.attributes["id"] == "search-0"]
    assert found.verdict in section.text and "replays on random signs" in section.text
    assert "#search-0" in [link.attributes["href"] for link in page.all("a")]


def test_every_path_is_a_point_of_the_chart() -> None:
    page, found = page_of(searched()), searched()
    points = page.all("circle", within="svg.front")
    small = [point for point in points if "tried" in point.classes]
    large = [point for point in points if "search" in point.classes]
    assert len(small) == len(found.tried) and len(large) == len(found.best)
    assert len(page.all("rect", "held-out", within="svg.front")) == len(found.best)
    by_height = sorted(large, key=lambda point: float(point.attributes["cy"]))
    assert by_height[0].text.startswith(found.tried[0].layer_path + ":")
    (reach,) = page.all("line", "reach", within="svg.front")
    (zero,) = page.all("line", "zero", within="svg.front")
    assert found.luck is not None and found.luck.score > 0
    assert float(reach.attributes["y1"]) < float(zero.attributes["y1"])


def test_searches_that_are_not_over_or_broken() -> None:
    found = searched()
    without = tuple(replace(one, held_out=None, p_value=None) for one in found.best)
    begun = replace(found, best=without, luck=None, held_out_luck_z=math.nan)
    page = page_of(begun, replace(begun, tried=(), best=()))
    assert len(page.all("svg", "front")) == 1
    assert not page.all("rect", "held-out", within="svg.front")
    none = Estimate(math.nan, math.nan)
    bad = replace(found.tried[0], score=-math.inf, search=none)
    page = page_of(replace(found, tried=(*found.tried, bad)))
    assert "nan" not in "".join(str(circle.attributes) for circle in page.all("circle"))


def test_strings_are_escaped() -> None:
    page = page_of(replace(searched(), probe=HOSTILE, verdict=HOSTILE, unit=HOSTILE))
    assert len(page.all("script")) == 2
    assert page.all("h2")[-3].text != "" and HOSTILE not in page.source
