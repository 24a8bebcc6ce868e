"""Scans by several probes of one store: each probe shows the paths of its own scan."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("matplotlib")

from ggufsurgeon.reporting.scan_findings.kinds import not_of_its_scan, of_its_scan
from ggufsurgeon.reporting.scan_page.page import scan_page
from ggufsurgeon.reporting.scan_picture.picture import scan_figure
from ggufsurgeon.scanning.verdicts.findings import ProbeFindings, ScanFindings
from tests.reporting.markup import Page
from tests.reporting.scanned import scan, unscored
from tests.reporting.test_scan_page import data_of


def without(findings: ScanFindings, kind: str) -> ScanFindings:
    """All paths of a kind are known to the store, and this probe has no score of them."""
    (probe,) = findings.probes
    paths = [path for path in probe.paths if path.kind != kind]
    others = [unscored(path, "not scanned yet") for path in probe.paths if path.kind == kind]
    return replace(findings, probes=(replace(probe, paths=(*paths, *others)),))


def kinds(probe: ProbeFindings) -> set[str]:
    return {path.kind for path in probe.paths}


@pytest.mark.parametrize(("absent", "there"), [("drop", "window"), ("window", "drop")])
def test_a_kind_without_a_score_makes_no_map_and_no_rows(absent: str, there: str) -> None:
    findings = without(scan(5, 12), absent)
    (probe,) = findings.probes
    assert kinds(of_its_scan(probe)) == {there}
    page = Page(scan_page(findings, ""))
    n_absent = sum(path.kind == absent for path in probe.paths)
    sentence = f"{n_absent} other paths of the store were not scanned by this probe."
    assert sentence in [found.text for found in page.all("p", "note")]
    assert len(page.all("svg", "plot")) == 1 and not page.all("rect", "missing")
    assert "not scanned yet" not in page.all("main")[0].text
    assert len(data_of(page)["probes"][0]["paths"]) == len(probe.paths) - n_absent
    titles = [axes.get_title(loc="left") for axes in scan_figure(findings, 0).axes]
    assert titles[0].startswith("Windows that are dropped") == (there == "drop")


def test_what_a_scan_has_still_to_do_stays() -> None:
    (probe,) = scan(5, 12).probes
    begun = (*probe.paths[:-3], *[unscored(each, "not scanned yet") for each in probe.paths[-3:]])
    only_begun = tuple(unscored(each, "not scanned yet") for each in probe.paths)
    refused = tuple(
        unscored(path, "refused") if path.kind == "drop" else path for path in probe.paths
    )
    for paths in (probe.paths, begun, only_begun, refused, ()):
        found = replace(probe, paths=paths)
        assert of_its_scan(found) == found and not_of_its_scan(found) == ""


def test_a_single_other_path_is_counted_as_one() -> None:
    findings = scan(5, 12, "window")
    (probe,) = findings.probes
    other = replace(unscored(probe.paths[-1], "not scanned yet"), kind="path")
    found = replace(probe, paths=(*probe.paths[:-1], other))
    assert not_of_its_scan(found) == "1 other path of the store was not scanned by this probe."


def test_a_scan_that_has_only_begun_makes_no_map_and_no_scale() -> None:
    findings = without(scan(5, 12, "window"), "window")
    page = Page(scan_page(findings, ""))
    assert not page.all("svg", "plot") and not page.all("svg", "colours")
    assert "15 not scanned yet" in page.all("section")[0].text
