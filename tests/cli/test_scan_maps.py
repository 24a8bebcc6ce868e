"""Maps and bars of a report in plain characters."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ggufsurgeon.cli.scanning.scan_results import print_findings
from ggufsurgeon.scanning.verdicts.findings import PathFinding, ScanFindings
from tests.reporting.scanned import scan, unscored


@pytest.fixture
def found() -> ScanFindings:
    return scan(5, 12)


def printed(capsys: pytest.CaptureFixture[str], findings: ScanFindings) -> str:
    print_findings(findings, 5)
    return capsys.readouterr().out


def with_paths(findings: ScanFindings, paths: list[PathFinding]) -> ScanFindings:
    (probe,) = findings.probes
    return replace(findings, probes=(replace(probe, paths=tuple(paths)),))


def map_of(text: str, heading: str) -> list[str]:
    lines = text.splitlines()
    (begin,) = [k for k, line in enumerate(lines) if line.startswith(heading)]
    return lines[begin + 1 : begin + 7]


def test_windows_that_are_dropped_have_a_map_too(
    capsys: pytest.CaptureFixture[str], found: ScanFindings
) -> None:
    text = printed(capsys, found)
    for heading, kind in (("Windows that run", "window"), ("Windows that are dropped", "drop")):
        legend, *rows = map_of(text, heading)
        assert legend.startswith("z: ") and "no score" not in legend
        for path in found.probes[0].paths:
            if path.kind == kind and path.first is not None and path.end is not None:
                assert rows[path.first][4 + path.end] != " "
                assert path.z is not None
                assert (rows[path.first][4 + path.end] in "-=") == (path.z < -2)
    assert map_of(text, "Windows that are dropped")[1] == map_of(text, "Windows that are")[1]
    assert len(map_of(text, "Windows that are dropped")[1]) == 9, "no window drops all blocks"


def test_a_probe_prints_the_paths_of_its_own_scan(
    capsys: pytest.CaptureFixture[str], found: ScanFindings
) -> None:
    paths = [
        unscored(path, "not scanned yet") if path.kind == "window" else path
        for path in found.probes[0].paths
    ]
    text = printed(capsys, with_paths(found, paths))
    assert "14 of 14 paths scored" in text
    assert "Windows that run" not in text and "without a score" not in text
    assert "\n15 other paths of the store were not scanned by this probe.\n" in text
    assert "\nWindows that are dropped" in text and "\nEach block dropped" in text


def test_marks_of_what_has_no_score(
    capsys: pytest.CaptureFixture[str], found: ScanFindings
) -> None:
    kept = [path for path in found.probes[0].paths if path.kind == "window"]
    by_window = {(path.first, path.end): path for path in kept}
    by_window[0, 1] = unscored(by_window[0, 1], "refused")
    by_window[0, 2] = unscored(by_window[0, 2], "not scanned yet")
    by_window[0, 3] = replace(by_window[0, 3], z=None, left_race="left the race after 4 of 8 items")
    by_window.pop((0, 4))
    legend, first, *_ = map_of(
        printed(capsys, with_paths(found, list(by_window.values()))), "Windows"
    )
    assert first[5:9] == "x?~ "
    assert legend.endswith("~ left the race, x no score, ? not scanned yet")


def test_each_block_dropped_has_a_bar(
    capsys: pytest.CaptureFixture[str], found: ScanFindings
) -> None:
    text = printed(capsys, found)
    (block_0, *others) = text[text.index("Each block dropped") :].splitlines()[1:6]
    assert block_0.endswith("->"), "it ruins the model: beyond the scale"
    values = [float(line.split()[1]) for line in others]
    bars = [line.split()[2] if len(line.split()) > 2 else "" for line in others]
    longest = max(range(4), key=lambda k: abs(values[k]))
    assert len(bars[longest]) == 40
    for value, bar in zip(values, bars, strict=True):
        assert len(bar) == round(40 * abs(value) / abs(values[longest]))
        assert set(bar) <= ({"+"} if value > 0 else {"-"})


def test_a_z_without_bound_is_cut_and_one_is_counted_as_one(
    capsys: pytest.CaptureFixture[str], found: ScanFindings
) -> None:
    (probe,) = found.probes
    paths = (replace(probe.paths[0], z=3316624.79),)
    odd = replace(found, probes=(replace(probe, paths=paths, luck_z=1e9, verdict="None."),))
    text = printed(capsys, odd)
    assert "1 of 1 path scored" in text and "> 1000" in text and "3316624" not in text
    assert "the best of 1 path exceeds > 1000 standard errors" in text
    raced = replace(paths[0], z=None, left_race="left the race after 4 of 8 items")
    odd = replace(found, probes=(replace(probe, paths=(raced,), luck_z=math.nan, is_race=True),))
    assert "1 path: left the race after 4 of 8 items" in printed(capsys, odd)
