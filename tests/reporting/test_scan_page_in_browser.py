"""The page of a scan in Chromium, where there is one: its script runs, and nothing is too wide."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.reporting.scan_findings.words import path_name
from ggufsurgeon.reporting.scan_page.page import scan_page
from ggufsurgeon.scanning.verdicts.findings import ScanFindings
from tests.models.hostile import EVIL, INJECTED, SCRIPT
from tests.reporting.markup import Page
from tests.reporting.scanned import (
    HOSTILE,
    NOT_WRITABLE,
    REFUSED,
    hostile_scan,
    scan,
    with_gaps,
)
from tests.reporting.test_scan_page import COMMAND, data_of

CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH"),
]
# A window has a least width, a frame has none. Errors are caught from before the page's script on.
FRAME = """<!DOCTYPE html><body><pre id="told"></pre>
<iframe src="page.html" style="width:{width}px;height:800px;border:0"></iframe>
<script>
addEventListener("message", (event) => (document.getElementById("told").textContent = event.data));
</script>
"""
WATCH = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
</script>
"""
TELL = """<script>
const find = (selector) => document.querySelector(selector);
const text = (selector) => find(selector).textContent;
const rows = () => [...document.querySelectorAll(".items tbody tr")].map(
  (row) => [...row.children].map((cell) => cell.textContent));
const cell = (first, end) => find(`.plot [data-path][y="${first}"][x="${end - 1}"]`);
const key = (element, name) => element.dispatchEvent(
  new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
const click = (element) => element.dispatchEvent(new MouseEvent("click", { bubbles: true }));
let result = null;
try {
  result = (() => { STEPS })();
} catch (error) {
  errors.push(String(error));
}
parent.postMessage(JSON.stringify({ result, errors }), "*");
</script>
"""


def dumped(file: Path) -> str:
    """The elements of a file after its scripts have run."""
    assert CHROMIUM is not None
    profile = file.parent / "profile"
    return subprocess.run(
        [
            CHROMIUM,
            *OPTIONS,
            f"--user-data-dir={profile}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            file.as_uri(),
        ],
        check=True,
        timeout=120,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout


def told(folder: Path, findings: ScanFindings, steps: str, width: int = 390) -> Any:
    """What the steps return in a copy of the page without its policy; there must be no errors."""
    source = scan_page(findings, COMMAND)
    for before, after in (
        ('http-equiv="Content-Security-Policy"', 'name="policy"'),
        ("<head>", f"<head>{WATCH}"),
        ("</body>", TELL.replace("STEPS", steps) + "</body>"),
    ):
        assert source.count(before) == 1
        source = source.replace(before, after)
    (folder / "page.html").write_text(source, encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    (answer,) = Page(dumped(frame)).all("pre")
    found = json.loads(answer.text)
    assert found["errors"] == []
    return found["result"]


def test_the_page_as_it_is_shows_the_items_of_the_best_path(tmp_path: Path) -> None:
    findings = scan(6, 5)
    file = tmp_path / "page.html"
    file.write_text(scan_page(findings, COMMAND), encoding="utf-8")
    page = Page(dumped(file))
    (items,) = [found for found in page.all("div", "items")]
    assert "hidden" not in items.attributes
    assert findings.probes[0].paths[0].layer_path in items.text
    assert all(label in items.text for label in findings.probes[0].item_labels)


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_nothing_is_wider_than_the_screen(tmp_path: Path, width: int) -> None:
    findings = scan(60, 4)
    steps = """
    click(find(".everything button"));
    return [innerWidth, document.documentElement.scrollWidth];
    """
    assert told(tmp_path, findings, steps, width) == [width, width]


def test_long_names_are_broken(tmp_path: Path) -> None:
    findings = with_gaps(scan(7, 4))
    (probe,) = findings.probes
    long = "w" * 400
    route = replace(
        probe.paths[0], kind="path", first=None, end=None, layer_path="0..6," * 90 + "0"
    )
    changed = replace(
        probe,
        probe=long,
        unit=long,
        verdict=long,
        item_labels=(long,) * 4,
        paths=(route, *probe.paths),
    )
    steps = """
    click(find(".everything button"));
    return document.documentElement.scrollWidth;
    """
    found = replace(findings, model=f"{long}.gguf", architecture=long, probes=(changed,))
    for width in (390, 1280):
        assert told(tmp_path, found, steps, width) == width


def test_a_click_on_a_cell_shows_its_items(tmp_path: Path) -> None:
    findings = with_gaps(scan(9, 12))
    (probe,) = findings.probes
    paths = {(path.first, path.end): path for path in probe.paths if path.kind == "window"}
    path = paths[2, 7]
    steps = """
    const before = text(".items h3");
    click(cell(2, 7));
    const cursor = find(".plot .cursor");
    return [before, text(".items h3"), text(".items code"), rows(), text(".readout"),
      [cursor.getAttribute("y"), cursor.getAttribute("x"), cursor.getAttribute("visibility")]];
    """
    before, heading, command, rows, readout, cursor = told(tmp_path, findings, steps)
    assert before != heading == "Items of 2:7"
    assert command == (f'ggufsurgeon patch {findings.model} best.gguf --layers "{path.layer_path}"')
    assert [row[0] for row in rows] == list(probe.item_labels)
    assert [number(row[1]) for row in rows] == pytest.approx(probe.item_bases, abs=1e-3)
    assert [number(row[2]) for row in rows] == pytest.approx(path.differences, abs=1e-3)
    assert [row[3] == "held out" for row in rows] == list(probe.is_held_out)
    known = data_of(Page(scan_page(findings, COMMAND)))["probes"][0]["paths"]
    (figures,) = [each for each in known if each["name"] == "2:7"]
    assert all(figures[name] in readout for name in ("layers", "search", "heldOut", "z", "p"))
    assert all(cost in readout for cost in figures["cost"])
    assert cursor == ["2", "6", "visible"]


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def test_cells_without_items_say_why(tmp_path: Path) -> None:
    findings = with_gaps(scan(9, 12))
    steps = f"""
    click(cell{REFUSED});
    const refused = [text(".items .remark"), rows().length, find(".items .scroll").hidden];
    click(cell{NOT_WRITABLE});
    return [refused, text(".items .remark"), rows().length, find(".items .command").hidden];
    """
    assert told(tmp_path, findings, steps) == [
        ["blocks 0 and 1 share a cache", 0, True],
        "the count of heads differs",
        12,
        True,
    ]


def test_keys_move_and_choose(tmp_path: Path) -> None:
    steps = """
    cell(2, 4).focus();
    const places = [];
    for (const name of ["ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown", "ArrowRight"]) {
      key(document.activeElement, name);
      places.push(text(".readout .name"));
    }
    const stops = document.querySelectorAll('.plot [tabindex="0"]').length;
    key(document.activeElement, "Enter");
    return [places, stops, text(".items h3")];
    """
    # 2:5 is absent: it is passed over.
    places, n_stops, heading = told(tmp_path, with_gaps(scan(9, 12, "window")), steps)
    assert places == ["2:6", "1:6", "1:5", "3:5", "3:6"]
    assert n_stops == 1 and heading == "Items of 3:6"


def test_ranking_bars_and_the_list_of_all_choose_too(tmp_path: Path) -> None:
    findings = scan(9, 12)
    steps = """
    click(find(".ranking tr:nth-child(4) button"));
    const third = text(".items h3");
    click(find(".bars g:nth-of-type(5)"));
    const bar = text(".items h3");
    click(find(".everything button"));
    const listed = document.querySelectorAll(".everything tbody tr");
    click(listed[listed.length - 1].querySelector("button"));
    return [third, bar, listed.length, text(".items .path")];
    """
    third, bar, n_listed, last = told(tmp_path, findings, steps)
    paths = findings.probes[0].paths
    assert third.endswith(f"{paths[2].first}:{paths[2].end}")
    assert bar == "Items of drop 4:5"
    assert n_listed == len(paths) and last == f"Layer path {paths[-1].layer_path}"


def test_the_probes_of_a_joint_ranking_have_a_z_each(tmp_path: Path) -> None:
    findings = scan(4, 3)
    (probe,) = findings.probes
    joint = replace(probe, is_joint=True, item_labels=("text", "arithmetic", "choices"))
    steps = """return [text(".items h3"), text(".items thead"), rows(), text(".legend p")]"""
    heading, columns, found, legend = told(tmp_path, replace(findings, probes=(joint,)), steps)
    path = joint.paths[0]
    assert heading == f"Probes of {path_name(path)}"
    assert columns == "probez on its search items" and legend.startswith("Colour: joint z")
    assert [row[0] for row in found] == list(joint.item_labels)
    assert [number(row[1]) for row in found] == pytest.approx(path.differences, abs=1e-3)
    assert {len(row) for row in found} == {2}


def test_heads_of_columns_stand_over_what_they_name(tmp_path: Path) -> None:
    steps = """return [...document.querySelectorAll(".ranking thead th")].map(
      (head) => [head.textContent, getComputedStyle(head).textAlign]);"""
    sides = dict(told(tmp_path, scan(4, 3), steps, 1280))
    assert sides["interval"] == sides["path"] == "left" and sides["search"] == "right"


def test_hostile_labels_are_shown_as_text(tmp_path: Path) -> None:
    findings = scan(4, 3)
    (probe,) = findings.probes
    findings = replace(findings, probes=(replace(probe, item_labels=(HOSTILE,) * 3),))
    steps = """return [rows()[0][0], document.querySelectorAll("script").length]"""
    assert told(tmp_path, findings, steps) == [HOSTILE, 4]  # two of the page, two of the copy


@pytest.mark.parametrize("has_policy", [True, False], ids=["policy", "no policy"])
def test_hostile_strings_run_nothing(tmp_path: Path, has_policy: bool) -> None:
    """The texts are escaped, and the policy of the page would stop what were not."""
    evil = f"{EVIL}\"' onload=document.title='{INJECTED}' x='</title></svg>"
    file = tmp_path / "page.html"
    source = scan_page(hostile_scan(evil), evil)
    if not has_policy:
        source = source.replace('http-equiv="Content-Security-Policy"', 'name="policy"')
    file.write_text(source, encoding="utf-8")
    page = Page(dumped(file))
    (title,) = [found for found in page.all("title") if found.text.startswith("Scan of ")]
    assert title.text.startswith("Scan of \\x1b[31m") and SCRIPT in title.text
    assert len(page.all("script")) == 2
    assert not any("onload" in found.attributes for found in page.elements)
    assert not any(set(found.text) & set("\x1b\x9b\u202e\u2066\u200b") for found in page.elements)
    items, *_ = page.all("div", "items")
    assert SCRIPT in items.text, "the page's own script has shown them"


def test_the_policy_stops_a_script(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    source = scan_page(scan(4, 3), COMMAND)
    file.write_text(source.replace("</body>", f"{SCRIPT.removesuffix('<!--')}</body>"))
    (title,) = [found for found in Page(dumped(file)).all("title")]
    assert title.text.startswith("Scan of ")
