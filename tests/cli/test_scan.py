"""`scan`, `report` and `patch --from-scan` as a user sees them."""

from __future__ import annotations

import csv
import hashlib
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
from tests.conftest import ROOT, Run
from tests.interrupts import heed_interrupts

WINDOWS = ("--windows", "1..4:1..2")
SCAN = ("--store", "scan.db", "--arithmetic", "16", *WINDOWS, "--threads", "1")


@pytest.fixture
def scanned(stories: Path, surgeon: Run) -> Run:
    done = surgeon("scan", stories, *SCAN)
    assert done.returncode == 0, done.stderr
    assert "16 items in 1 group along 7 layer paths and the unmodified model" in done.stderr
    assert "8 passes of a group" in done.stderr
    assert "ggufsurgeon report scan.db" in done.stderr and done.stdout == ""
    return surgeon


def test_a_scan_and_its_report(scanned: Run, tmp_path: Path) -> None:
    done = scanned("report", "scan.db", "--top", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "probe arithmetic: 7 of 7 paths scored on 16 items, 8 of them held out" in done.stdout
    assert "Verdict: Noise" in done.stdout and "By chance alone, the best of 7 paths" in done.stdout
    found = json.loads(scanned("report", "scan.db", "--json").stdout)
    (model,) = found["models"]
    assert (model["model"], model["n_blocks"], found["schema"]) == ("stories260K.gguf", 5, 1)
    (probe,) = model["probes"]
    assert probe["is_better"] is False and len(probe["paths"]) == 7
    z = [path["z"] for path in probe["paths"]]
    assert z == sorted(z, reverse=True)


def test_json_streams_a_line_for_each_path(stories: Path, surgeon: Run) -> None:
    done = surgeon("scan", stories, *SCAN, "--json", "--quiet")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 8 and done.stderr == ""
    assert lines[0]["layer_path"] == "0..4" and len(lines[0]["scores"]) == 16
    assert {line["schema"] for line in lines} == {1}


def test_files_of_a_report(scanned: Run, tmp_path: Path) -> None:
    files = ("--csv", "items.csv", "--jsonl", "items.jsonl", "--html", "scan.html")
    done = scanned("report", "scan.db", *files)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "items.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == 7 * 16
    assert float(rows[5]["difference"]) == lines[5]["difference"]
    assert (tmp_path / "scan.html").read_text().startswith("<!DOCTYPE html>")
    again = scanned("report", "scan.db", *files)
    assert_told(again, 4, "items.csv exists")
    assert scanned("report", "scan.db", *files, "--replace").returncode == 0


def test_a_picture_of_a_report(scanned: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    assert scanned("report", "scan.db", "--png", "scan.png").returncode == 0
    assert (tmp_path / "scan.png").read_bytes().startswith(b"\x89PNG")


def test_the_path_of_a_rank_is_patched(scanned: Run, stories: Path, tmp_path: Path) -> None:
    noise = scanned("patch", stories, "best.gguf", "--from-scan", "scan.db")
    assert_told(noise, 4, "Noise")
    assert not (tmp_path / "best.gguf").exists()
    model = json.loads(scanned("report", "scan.db", "--json").stdout)["models"][0]
    expected = model["probes"][0]["paths"][1]["layer_path"]
    done = scanned("patch", stories, "best.gguf", "--from-scan", "scan.db", "--rank", "2", "--json")
    assert json.loads(done.stdout)["layer_path"] == expected


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--from-scan", "scan.db", "--rank", "8"), "there is no rank 8 among 7"),
        (("--from-scan", "scan.db", "--probe", "text"), "it has no scan of"),
        (("--from-scan", "scan.db", "--window", "1:2"), "exclude it"),
        (("--from-scan", "none.db"), "there is no such store"),
        (("--rank", "1", "--window", "1:2"), "require --from-scan"),
    ],
)
def test_scans_that_a_patch_cannot_use(
    scanned: Run, stories: Path, options: tuple[str, ...], says: str
) -> None:
    assert_told(scanned("patch", stories, "best.gguf", *options), 2, says)


def test_the_hash_of_the_whole_file(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    """Two files that differ in one weight have the same header, size and sample."""
    model, other = tmp_path / "model.gguf", tmp_path / "other.gguf"
    content = bytearray(stories.read_bytes())
    model.write_bytes(content)
    content[-5000] ^= 1
    other.write_bytes(content)
    few = ("--store", "scan.db", "--arithmetic", "4", "--layers", "0..4,4", "--threads", "1")
    assert surgeon("scan", model, *few, "--hash").returncode == 0
    found = json.loads(surgeon("report", "scan.db", "--json").stdout)["models"][0]
    assert found["content_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert surgeon("scan", model, *few, "--hash").returncode == 0
    assert "2 known" in surgeon("scan", other, *few).stderr, "without it they are not told apart"
    done = surgeon("scan", other, *few, "--hash")
    assert_told(done, 4, "scores of another file with the same header, size and sample")


def test_a_scan_of_another_model(scanned: Run, tmp_path: Path, stories: Path) -> None:
    assert scanned("patch", stories, "other.gguf", "--drop", "2:3").returncode == 0
    done = scanned("patch", "other.gguf", "best.gguf", "--from-scan", "scan.db", "--rank", "1")
    assert_told(done, 2, "it has no scan of other.gguf")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--windows", "0..4"), 2, "expected a probe"),
        (("--arithmetic", "8", "--windows", "0..9"), 2, "the model has blocks 0 to 4"),
        (("--arithmetic", "8", "--windows", "x"), 2, "expected FIRST..LAST"),
        (("--arithmetic", "8", "--drop", "--times", "3"), 2, "--drop excludes it"),
        (("--arithmetic", "8", "--layers", "0..4,4", "--times", "3"), 2, "requires --windows"),
        (("--arithmetic", "8", "--layers", "0..9"), 2, "there is no block 5"),
        (("--text", "none.txt"), 2, "none.txt"),
        (("--choices", "none.jsonl"), 2, "none.jsonl"),
    ],
)
def test_bad_requests(
    stories: Path, surgeon: Run, tmp_path: Path, options: tuple[str, ...], code: int, says: str
) -> None:
    assert_told(surgeon("scan", stories, "--store", "scan.db", *options), code, says)
    assert not (tmp_path / "scan.db").exists()


def test_reports_of_what_is_no_scan(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello")
    assert_told(surgeon("report", "none.db"), 2, "there is no such store")
    assert_told(surgeon("report", "text.db"), 4, "not a store")
    assert (tmp_path / "text.db").read_text() == "hello"
    store = ("--store", "measured.db")
    (tmp_path / "text.txt").write_text("the dog ran to the ball. " * 200)
    measured = surgeon("perplexity", stories, "-f", "text.txt", "-c", "64", *store)
    assert measured.returncode == 0
    assert_told(surgeon("report", "measured.db"), 2, "it has no scan")
    assert_told(surgeon("report", "measured.db", "--held-out", "1"), 2, "between 0 and 1")


def test_ctrl_c_keeps_everything_and_tells_how_to_go_on(stories: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ggufsurgeon", "scan", str(stories), *SCAN[:2], "--json"]
    process = subprocess.Popen(
        [*command, "--arithmetic", "600"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=heed_interrupts,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "scan.db has all scores so far; the same command resumes the scan." in errors
    time.sleep(0.1)
    report = subprocess.run(
        [sys.executable, "-m", "ggufsurgeon", "report", "scan.db", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert report.returncode == 0, report.stderr
