"""`search` as a user sees it, and its part of `report`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from tests.cli.failing import assert_told
from tests.conftest import Run
from tests.interrupts import started

PROBLEMS = ("--store", "scan.db", "--arithmetic", "12", "--threads", "1")
SEARCH = (*PROBLEMS, "--max-blocks", "3", "--beam", "2", "--max-paths", "10")


@pytest.fixture
def scanned(stories: Path, surgeon: Run) -> Run:
    done = surgeon("scan", stories, *PROBLEMS, "--windows", "1..4:1..2")
    assert done.returncode == 0, done.stderr
    return surgeon


def test_a_search_and_its_report(scanned: Run, stories: Path, tmp_path: Path) -> None:
    done = scanned("search", stories, *SEARCH)
    assert done.returncode == 0, done.stderr
    assert "step 1, search items: 4 paths, 4 passes of a group to run" in done.stderr
    assert "held-out items: the best path of each length" in done.stderr
    assert "10 paths run, with at most 3 added blocks" in done.stdout
    assert "Verdict: " in done.stdout and "replays with random signs" in done.stdout
    report = scanned("report", "scan.db", "--html", "page.html")
    assert done.stdout.rstrip() in report.stdout
    assert "arithmetic-search" in (tmp_path / "page.html").read_text()
    alone = scanned("report", "scan.db", "--probe", "arithmetic-search", "--json")
    (model,) = json.loads(alone.stdout)["models"]
    assert model["probes"] == [] and len(model["searches"]) == 1
    found = json.loads(scanned("search", stories, *SEARCH, "--json").stdout)
    assert found["best"] == model["searches"][0]["best"]
    best = max(found["best"], key=lambda one: one["score"])
    patch = ("patch", stories, "best.gguf", "--from-scan", "scan.db", "--probe")
    assert_told(scanned(*patch, "arithmetic-search"), 4, "Noise: the best path of the search")
    done = scanned(*patch, "arithmetic-search", "--rank", "1", "--json")
    assert json.loads(done.stdout)["layer_path"] == best["layer_path"]
    done = scanned(*patch, "arithmetic-search", "--rank", "11", "--replace")
    assert_told(done, 2, "there is no rank 11 among 10 paths")
    done = scanned(*patch, "none-search", "--rank", "1", "--replace")
    assert_told(done, 2, "it has no scan of")
    assert "It has scans of it by: arithmetic, arithmetic-search." in done.stderr


def test_a_search_of_one_path(scanned: Run, stories: Path) -> None:
    limits = ("--max-blocks", "1", "--beam", "1", "--max-paths", "1")
    done = scanned("search", stories, *PROBLEMS, *limits)
    assert done.returncode == 0, done.stderr
    assert "1 path run, with at most 1 added block" in done.stdout
    assert "By chance alone, this path exceeds" in done.stdout


def test_a_scan_with_strengths(surgeon: Run, stories: Path) -> None:
    windows = ("--windows", "1..2:1")
    for options in (("--strength", "0.5"), ("--damped",), ("--damped", "--times", "3")):
        done = surgeon("scan", stories, *PROBLEMS, *windows, *options)
        assert done.returncode == 0, done.stderr
    found = json.loads(surgeon("report", "scan.db", "--json").stdout)
    paths = found["models"][0]["probes"][0]["paths"]
    assert {path["layer_path"] for path in paths} >= {"0..1,1*0.5,2..4", "0,1*0.5,1*0.5,2..4"}
    assert len(paths) == 6 and {path["kind"] for path in paths} == {"window"}
    assert {tuple(path["window"]) for path in paths} == {(1, 2), (2, 3)}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--strength", "0.5", "--damped"), "--strength and --damped exclude each other"),
        (("--strength", "0.5", "--drop"), "--drop excludes it"),
        (("--damped", "--layers", "0..2"), "--damped applies to windows"),
        (("--strength", "-1"), "expected a number that is 0 or greater"),
    ],
)
def test_bad_strengths_of_a_scan(
    surgeon: Run, stories: Path, options: tuple[str, ...], told: str
) -> None:
    assert_told(surgeon("scan", stories, *PROBLEMS, *options), 2, told)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--store", "scan.db"), "expected one of --text, --choices, --arithmetic and --probe"),
        ((*PROBLEMS, "--strengths", "0.5,x"), "'x' is no strength"),
        ((*PROBLEMS, "--strengths", "0"), "which do nothing: expected numbers above 0"),
        ((*PROBLEMS, "--ctx", "64"), "--ctx requires --text"),
        ((*PROBLEMS, "--held-out", "1"), "expected one between 0 and 1"),
        (("--store", "scan.db", "--arithmetic", "13"), "the store has no scan of"),
        (("--store", "none.db", "--arithmetic", "12"), "that are to be composed into it first"),
    ],
)
def test_bad_requests(scanned: Run, stories: Path, options: tuple[str, ...], told: str) -> None:
    done = scanned("search", stories, *options)
    assert_told(done, 2, told)
    assert done.stdout == ""


def test_ctrl_c_keeps_everything(scanned: Run, stories: Path, tmp_path: Path) -> None:
    arguments = ("search", str(stories), *SEARCH[:-1], "200")
    command = [sys.executable, "-m", "ggufsurgeon", *arguments]
    with started(
        command, cwd=tmp_path, stderr=subprocess.PIPE, env=os.environ, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 2"):
                break
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 128 + signal.SIGINT
    assert "the same command resumes the search" in rest
    report = json.loads(scanned("report", "scan.db", "--json").stdout)
    (found,) = report["models"][0]["searches"]
    assert found["verdict"] == "No verdict: the search is not over." and found["tried"]
    lines = scanned("report", "scan.db").stdout.splitlines()
    assert "No verdict: the search is not over." in lines and "Verdict: No v" not in "".join(lines)
