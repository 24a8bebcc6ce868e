"""The page of a scan: it shows what was found, and nothing in it acts but its own script."""

from __future__ import annotations

import json
import math
import re
import shlex
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from ggufsurgeon.reporting.scan_findings.diverging import CLIP_PERCENT
from ggufsurgeon.reporting.scan_findings.spans import interval
from ggufsurgeon.reporting.scan_findings.words import estimate_text, p_text, z_text
from ggufsurgeon.reporting.scan_page.page import scan_page
from ggufsurgeon.scanning.verdicts.findings import PathFinding, ScanFindings
from ggufsurgeon.statistics.estimate import Estimate
from tests.reporting.markup import Found, Page
from tests.reporting.scanned import (
    ABSENT,
    HOSTILE,
    NOT_WRITABLE,
    PLANNED,
    REFUSED,
    hostile_scan,
    scan,
    unscored,
    with_gaps,
)

COMMAND = "ggufsurgeon scan model-Q4_K_M.gguf --probe text"
MINUS = "\N{MINUS SIGN}"


def page_of(findings: ScanFindings) -> Page:
    return Page(scan_page(findings, COMMAND))


def data_of(page: Page) -> Any:
    (data,) = [found for found in page.all("script") if found.attributes.get("id") == "scan-data"]
    return json.loads(data.text)


def cells(page: Page, number: int = 0) -> dict[tuple[int, int], Found]:
    """The cells of a map, by window."""
    plots = [k for k, found in enumerate(page.elements) if "plot" in found.classes]
    begin, end = [*plots, len(page.elements)][number : number + 2]
    found = [each for each in page.elements[begin:end] if "data-path" in each.attributes]
    return {
        (int(each.attributes["y"]), int(each.attributes["x"]) + 1): each
        for each in found
        if each.tag == "rect" and any(name.startswith("svg.plot") for name in each.within)
    }


def with_paths(findings: ScanFindings, paths: tuple[PathFinding, ...]) -> ScanFindings:
    (probe,) = findings.probes
    return replace(findings, probes=(replace(probe, paths=paths),))


def number_in(percentage: str) -> float:
    return float(percentage.removesuffix("%"))


@pytest.mark.parametrize("number", [0, 1])
def test_every_scored_window_is_a_cell_with_its_figures(number: int) -> None:
    findings = scan(9, 12)
    kind = ["window", "drop"][number]
    page = page_of(findings)
    found = cells(page, number)
    paths = findings.probes[0].paths
    windows = {(path.first, path.end): path for path in paths if path.kind == kind}
    assert found.keys() == windows.keys() and len(windows) >= 44
    for window, path in windows.items():
        cell = found[window]  # type: ignore[index]
        assert paths[int(cell.attributes["data-path"])] is path
        label = cell.attributes["aria-label"]
        for text in (estimate_text(path.search), estimate_text(path.held_out), z_text(path.z)):
            assert text in label
        assert f"p {p_text(path.p_value)}" in label
        assert cell.attributes["role"] == "button"
        assert path.search is not None
        (colour,) = cell.classes
        assert colour[0] in ("nb" if path.search.value > 0 else "nw")
    assert [cell.attributes["tabindex"] for cell in found.values()].count("0") == 1


def test_colours_deepen_with_the_difference_and_the_clip_is_told() -> None:
    findings = scan(9, 12, "window")
    paths = findings.probes[0].paths
    page = page_of(findings)
    by_value = []
    for cell in cells(page).values():
        search = paths[int(cell.attributes["data-path"])].search
        assert search is not None
        colour = cell.classes[0]
        step = int(colour[1:] or 0) * (-1 if colour[0] == "w" else 1)
        by_value.append((search.value, step))
    steps = [step for _, step in sorted(by_value)]
    assert steps == sorted(steps) and steps[0] == -8 and steps[-1] > 0
    (words,) = [each.text for each in page.all("p", within="div.legend")]
    n_beyond = sum(step == -8 for step in steps)
    told = re.search(r"percentile (\d+) of the sizes: (\d+) cells beyond", words)
    assert told is not None and int(told[1]) == CLIP_PERCENT
    assert 0 < int(told[2]) <= n_beyond and abs(int(told[2]) - 0.25 * len(steps)) <= 1


def test_cells_without_a_figure_differ_by_pattern() -> None:
    findings = with_gaps(scan(9, 12, "window"))
    source = scan_page(findings, COMMAND)
    page = Page(source)
    found = cells(page)
    assert ABSENT not in found
    assert found[REFUSED].classes == ["unscored"] and found[PLANNED].classes == ["missing"]
    assert "share a cache" in found[REFUSED].attributes["aria-label"]
    assert "not scanned yet" in found[PLANNED].attributes["aria-label"]
    (hatched,) = page.all("rect", "not-writable", within="svg.plot")
    assert (int(hatched.attributes["y"]), int(hatched.attributes["x"]) + 1) == NOT_WRITABLE
    assert "heads differs" in found[NOT_WRITABLE].attributes["aria-label"]
    assert not page.all("path", within="svg.plot"), "what nobody asked for is blank"
    patterns = {each.attributes["id"] for each in page.all("pattern")}
    for name in ("missing", "unscored", "not-writable"):
        assert name in patterns and f".{name} {{ fill: url(#{name})" in source
        assert page.all("rect", name, within="svg.swatch")
    legend = " ".join(each.text for each in page.all("li"))
    assert all(word in legend for word in ("not scanned", "refused", "not written to a file"))


def test_a_refused_cell_has_no_other_mark_and_the_legend_lists_what_is_there() -> None:
    findings = with_gaps(scan(9, 12, "window"))
    (probe,) = findings.probes
    refused = [
        replace(path, not_writable="refused too") if path.problem.startswith("blocks") else path
        for path in probe.paths
        if path.not_writable == ""
    ]
    page = page_of(with_paths(findings, tuple(refused)))
    assert cells(page)[REFUSED].classes == ["unscored"]
    assert not page.all("rect", "not-writable")
    told = [each.text for each in page.all("li")]
    assert told == ["not scanned yet", "no score: refused, or logits not finite", "p below 0.05"]
    unsure = tuple(replace(path, p_value=1.0) for path in scan(9, 12).probes[0].paths)
    assert not page_of(with_paths(findings, unsure)).all("li")


def test_hostile_names_are_text() -> None:
    source = scan_page(hostile_scan(HOSTILE), HOSTILE)
    page = Page(source)
    assert len(page.all("script")) == 2 and source.count("<script") == source.count("</script") == 2
    assert "<!--" not in source and "alert(1)" in source
    assert data_of(page)["probes"][0]["labels"] == [HOSTILE] * 5
    for tag in ("h1", "title", "h2", "code"):
        assert any(HOSTILE in found.text for found in page.all(tag))
    assert any(found.attributes.get("aria-label", "").endswith(HOSTILE) for found in page.elements)


def test_characters_that_utf8_lacks_are_escaped() -> None:
    source = scan_page(replace(scan(3, 4), model="a\udc80\x00.gguf"), "\udc80")
    source.encode("utf-8")
    assert "a\\udc80" in source


def test_the_page_loads_nothing() -> None:
    source = scan_page(scan(9, 12), COMMAND)
    page = Page(source)
    for found in page.elements:
        assert found.tag not in {"link", "img", "iframe", "object", "embed", "base", "image", "use"}
        assert not {"src", "srcset", "data", "action"} & found.attributes.keys()
        assert found.attributes.get("href", "#").startswith("#")
        assert not any(key.startswith("on") for key in found.attributes)
    assert "http:" not in source and "https:" not in source and "@import" not in source
    assert set(re.findall(r"url\((.)", source)) == {"#"}


def test_the_policy_allows_the_script_of_the_page_and_no_other() -> None:
    page = page_of(scan(3, 4))
    (policy,) = [
        found.attributes["content"]
        for found in page.all("meta")
        if found.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    script = page.all("script")[-1].text
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert re.findall(r"script-src ([^;]*);", policy) == [f"'sha256-{digest}'"]


def test_the_same_findings_give_the_same_bytes() -> None:
    assert scan_page(scan(9, 12), COMMAND) == scan_page(scan(9, 12), COMMAND)


def test_items_of_each_path_are_embedded_to_four_digits() -> None:
    findings = scan(4, 7)
    (probe,) = findings.probes
    first = replace(
        probe.paths[0], differences=(math.nan, math.inf, 123456.0, -1.23456e-7, 0, 1, 2)
    )
    data = data_of(page_of(with_paths(findings, (first, *probe.paths[1:]))))["probes"][0]
    assert data["labels"] == list(probe.item_labels)
    assert data["heldOut"] == [int(each) for each in probe.is_held_out]
    assert data["bases"] == pytest.approx(probe.item_bases, rel=1e-3)
    assert data["paths"][0]["differences"] == [None, None, 123500, -1.235e-7, 0, 1, 2]
    for known, path in zip(data["paths"][1:], probe.paths[1:], strict=True):
        assert known["differences"] == pytest.approx(path.differences, rel=1e-3)
        assert known["layers"] == path.layer_path
        assert known["search"] == estimate_text(path.search)
        assert known["heldOut"] == estimate_text(path.held_out)


@pytest.mark.parametrize("model", ["m.gguf", "my model's $x.gguf", "-m.gguf", HOSTILE])
def test_model_and_path_are_arguments_of_a_shell(model: str) -> None:
    data = data_of(page_of(replace(scan(4, 4), model=model)))
    path = data["probes"][0]["paths"][0]
    named = f"./{model}" if model.startswith("-") else model
    assert shlex.split(f"{data['model']} {path['argument']}") == [named, path["layers"]]
    assert path["argument"] == f'"{path["layers"]}"'


def test_the_verdict_and_the_command_are_told() -> None:
    findings = scan(9, 12, n_probes=2)
    page = page_of(findings)
    assert [found.text for found in page.all("p", "verdict")] == [
        f"Running blocks {path.first}:{path.end} ({path.layer_path}) is better than the model on "
        "this text."
        for path in [probe.paths[0] for probe in findings.probes]
    ]
    assert COMMAND in [found.text for found in page.all("code")]
    sections = [found.attributes["id"] for found in page.all("section")]
    links = [found.attributes["href"] for found in page.all("a")]
    assert links == [f"#{name}" for name in sections] and len(links) == 2
    footer = page.all("footer")[0].text
    assert "family-wise" in footer and "held-out" in footer


def test_the_ranking_has_the_best_and_the_worst_with_their_figures() -> None:
    findings = scan(9, 12)
    paths = findings.probes[0].paths
    page = page_of(findings)
    rows = [found for found in page.all("tr", within="table.ranking") if found.text[:1].isdigit()]
    n = len(paths)
    ranks = [*range(1, 21), *range(n - 4, n + 1)]
    assert len(rows) == 25
    for row, rank in zip(rows, ranks, strict=True):
        path = paths[rank - 1]
        assert path.cost is not None
        for text in (estimate_text(path.search), estimate_text(path.held_out), z_text(path.z)):
            assert text in row.text
        assert row.text.endswith(f"{path.cost.n_blocks:+d}".replace("-", MINUS))
    buttons = page.all("button", within="table.ranking")
    assert [int(each.attributes["data-path"]) for each in buttons] == [k - 1 for k in ranks]


@pytest.mark.parametrize(
    ("n_kept", "n_unscored", "is_offered"), [(25, 0, 0), (26, 0, 1), (9, 1, 1)]
)
def test_all_paths_are_offered_where_the_ranking_lacks_some(
    n_kept: int, n_unscored: int, is_offered: int
) -> None:
    findings = scan(9, 12)
    paths = findings.probes[0].paths
    last = tuple(unscored(path, "refused") for path in paths[:n_unscored])
    page = page_of(with_paths(findings, (*paths[:n_kept], *last)))
    assert len(page.all("button", within="div.everything")) == is_offered


def test_the_ranking_says_why_rank_1_may_have_a_larger_p() -> None:
    note = page_of(scan(9, 12)).all("p", "note")[0].text
    assert "As z is over the search items alone, rank 1 can have a larger p than rank 2" in note
    assert "a point beyond the grey bar can be noise" in note


def test_intervals_and_luck_are_where_they_belong() -> None:
    findings = scan(9, 12)
    probe = findings.probes[0]
    page = page_of(findings)
    row = "td.interval"
    best = probe.paths[0]
    assert best.search is not None and best.search.error is not None
    zero = number_in(page.all("line", "zero", within=row)[0].attributes["x1"])
    mean = number_in(page.all("circle", "search", within=row)[0].attributes["cx"])
    line = page.all("line", "search", within=row)[0].attributes
    low, high = (number_in(line[end]) for end in ("x1", "x2"))
    luck = number_in(page.all("rect", "luck", within=row)[0].attributes["width"])
    unit = (mean - zero) / best.search.value
    ends = [(end - zero) / unit for end in (low, high)]
    assert ends == pytest.approx(interval(best.search), abs=0.02 / unit)
    assert luck / unit == pytest.approx(probe.luck_z * best.search.error, abs=0.02 / unit)
    assert all(
        0 <= number_in(each.attributes["cx"]) <= 100 for each in page.all("circle", "search")
    )


def test_each_block_dropped_is_a_bar() -> None:
    findings = scan(9, 12, "drop")
    page = page_of(findings)
    paths = findings.probes[0].paths
    bars = page.all("g", within="svg.bars")
    indices = [int(each.attributes["data-path"]) for each in bars]
    assert [(paths[k].first, paths[k].end) for k in indices] == [(k, k + 1) for k in range(9)]
    for each, k in zip(bars, indices, strict=True):
        assert estimate_text(paths[k].search) in each.attributes["aria-label"]
    assert len(page.all("svg", "beyond", within="svg.bars")) == 1  # block 0 ruins the model
    assert "1 bar beyond the scale" in page.all("section")[0].text
    singles = tuple(path for path in paths if path.first is not None and path.end == path.first + 1)
    alone = page_of(with_paths(findings, singles))
    assert not alone.all("svg", "plot") and len(alone.all("g", within="svg.bars")) == 9


def test_odd_findings_make_a_page() -> None:
    findings = scan(3, 4)
    (probe,) = findings.probes
    path = probe.paths[0]
    odd = [
        replace(path, search=Estimate(0.5, None), held_out=None, z=None, p_value=None, cost=None),
        replace(path, kind="path", first=None, end=None, layer_path="0,2,1"),
        replace(path, search=Estimate(math.nan, math.nan), differences=()),
        replace(path, search=Estimate(0.0, 0.0), held_out=Estimate(0.0, 0.0)),
        replace(path, search=Estimate(1e300, 1e299), held_out=Estimate(-1e300, math.inf)),
    ]
    for each in odd:
        page_of(with_paths(findings, (each,)))
    page_of(with_paths(findings, tuple(odd)))
    empty = page_of(with_paths(findings, ()))
    assert not empty.all("svg", "plot") and not empty.all("table", "ranking")
    assert "Nothing has been scanned" in page_of(replace(findings, probes=())).all("header")[0].text


@pytest.mark.parametrize(("n_blocks", "n_items", "most"), [(30, 60, 0.6e6), (80, 64, 4e6)])
def test_a_large_scan_is_a_page_of_few_megabytes(n_blocks: int, n_items: int, most: float) -> None:
    assert len(scan_page(scan(n_blocks, n_items, "window"), COMMAND).encode()) < most
