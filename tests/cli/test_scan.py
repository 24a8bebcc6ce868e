"""`scan`, `report` and `patch --from-scan` as a user sees them."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from tests.cli.failing import assert_told
from tests.conftest import ROOT, Run
from tests.interrupts import started
from tests.models.expanding import expand_named

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


def test_a_scan_without_a_verdict_says_so_once(stories: Path, surgeon: Run) -> None:
    assert surgeon("scan", stories, "--arithmetic", "3", "--store", "few.db").returncode == 0
    lines = surgeon("report", "few.db").stdout.splitlines()
    assert [line for line in lines if "erdict" in line] == [
        "No verdict: 1 items that choose the best path and 2 that judge it are too few; each "
        "needs 5."
    ]


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
    assert_told(again, 4, "scan.html exists")
    assert scanned("report", "scan.db", *files, "--replace").returncode == 0


@pytest.mark.parametrize("option", ["--csv", "--jsonl", "--html", "--png"])
def test_a_report_never_replaces_its_store(scanned: Run, tmp_path: Path, option: str) -> None:
    if option == "--png":
        pytest.importorskip("matplotlib", reason="needs the plot extra")
    store = tmp_path / "scan.db"
    (tmp_path / "scan.png").hardlink_to(store)
    before = store.read_bytes()
    done = scanned("report", "scan.db", option, "scan.png", "--replace")
    assert_told(done, 4, "scan.png is the source scan.db itself")
    assert store.read_bytes() == before


def test_a_patch_never_replaces_the_store_it_reads(
    scanned: Run, stories: Path, tmp_path: Path
) -> None:
    before = (tmp_path / "scan.db").read_bytes()
    options = ("--from-scan", "scan.db", "--rank", "1", "--replace")
    assert_told(scanned("patch", stories, "scan.db", *options), 4, "is the source scan.db itself")
    assert (tmp_path / "scan.db").read_bytes() == before


def test_files_of_a_report_are_checked_before_any_is_written(scanned: Run, tmp_path: Path) -> None:
    (tmp_path / "old.html").write_text("old")
    done = scanned("report", "scan.db", "--csv", "new.csv", "--html", "old.html")
    assert_told(done, 4, "old.html exists")
    done = scanned("report", "scan.db", "--csv", "new.csv", "--jsonl", "./new.csv")
    assert_told(done, 2, "new.csv: --csv and --jsonl name the same file")
    done = scanned("report", "scan.db", "--csv", "new.csv", "--probe", "none")
    assert_told(done, 2, "it has no scan by none")
    assert "stories260K.gguf by arithmetic" in done.stderr
    assert not (tmp_path / "new.csv").exists()


def test_a_store_of_two_models(scanned: Run, tmp_path: Path, stories: Path) -> None:
    assert scanned("patch", stories, "other.gguf", "--drop", "2:3").returncode == 0
    few = ("--store", "scan.db", "--arithmetic", "12", "--layers", "0..3,3", "--threads", "1")
    assert scanned("scan", "other.gguf", *few).returncode == 0
    assert_told(scanned("report", "scan.db", "--html", "a.html"), 2, "name one by --model")
    done = scanned("report", "scan.db", "--html", "a.html", "--model", "other.gguf", "--seed", "3")
    assert done.returncode == 0 and "stories260K" not in done.stdout
    page = (tmp_path / "a.html").read_text()
    made_by = "ggufsurgeon report scan.db --seed 3 --model other.gguf --html a.html"
    assert made_by in page


def test_another_scan_by_the_same_probe_is_told(scanned: Run, stories: Path) -> None:
    done = scanned("scan", stories, *SCAN[:2], "--arithmetic", "8", "--layers", "0..4,4")
    assert "the store has 1 other scan by this probe" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")
def test_a_store_on_a_read_only_file_system(scanned: Run, stories: Path, tmp_path: Path) -> None:
    expected = scanned("report", "scan.db", "--json").stdout
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        shutil.copy(tmp_path / "scan.db", folder)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        done = scanned("report", folder / "scan.db", "--json")
        assert (done.returncode, done.stdout) == (0, expected), done.stderr
        done = scanned("patch", stories, "best.gguf", "--from-scan", folder / "scan.db")
        assert_told(done, 4, "Noise")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


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
        (("--arithmetic", "8", "--windows", "4..0"), 2, "runs backwards"),
        (("--arithmetic", "8", "--times", "1"), 2, "unmodified model"),
        (("--arithmetic", "8", "--ctx", "64"), 2, "--ctx requires --text"),
        (("--arithmetic", "8", "--chunks", "4"), 2, "--chunks requires --text"),
        (("--choices", "tasks.jsonl", "--seed", "4"), 2, "--seed requires --arithmetic or"),
        (("--text", "none.txt", "--ctx", "4096"), 2, "was trained on 2048 tokens"),
        (("--arithmetic", "8", "--race"), 2, "too few"),
        (("--text", "none.txt"), 2, "none.txt"),
        (("--choices", "none.jsonl"), 2, "none.jsonl"),
    ],
)
def test_bad_requests(
    stories: Path, surgeon: Run, tmp_path: Path, options: tuple[str, ...], code: int, says: str
) -> None:
    assert_told(surgeon("scan", stories, "--store", "scan.db", *options), code, says)
    assert not (tmp_path / "scan.db").exists()


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("rwkv7-dense", ("--windows", "0..0"), "cannot be run exactly (block 0"),
        ("minimax-01-moe", ("--windows", "0..7:1", "--writable"), "be written to a file (arch"),
    ],
)
def test_without_a_path_nothing_runs(
    surgeon: Run, tmp_path: Path, name: str, options: tuple[str, ...], reason: str
) -> None:
    model = expand_named(f"{name}@words=stories260K", tmp_path / "model.gguf")
    done = surgeon("scan", model, "--arithmetic", "4", "--store", "scan.db", *options)
    assert_told(done, 4, "no layer path is left to scan")
    assert reason in done.stderr and not (tmp_path / "scan.db").exists()


def test_why_paths_are_left_out_is_told(surgeon: Run, tmp_path: Path) -> None:
    model = expand_named("llama4-moe@words=stories260K", tmp_path / "model.gguf")
    paths = ("--layers", "0..7,7", "--layers", "0..7", "--layers", "0..7,4..7", "--threads", "1")
    few = ("--arithmetic", "4", "--store", "my scan.db", "--writable")
    done = surgeon("scan", model, *few, *paths)
    assert done.returncode == 0, done.stderr
    assert "1 path cannot be written to a file: block 7 would become block 8" in done.stderr
    assert "the path of the unmodified model is not ranked among the others" in done.stderr
    assert "ggufsurgeon report 'my scan.db' shows" in done.stderr
    found = json.loads(surgeon("report", "my scan.db", "--json").stdout)["models"][0]
    assert [one["layer_path"] for one in found["probes"][0]["paths"]] == ["0..7,4..7"]


@pytest.mark.parametrize("name", ["bert-dense", "llada-dense"])
def test_choices_need_a_model_that_continues_texts(surgeon: Run, tmp_path: Path, name: str) -> None:
    model = expand_named(name, tmp_path / "model.gguf")
    tasks = ROOT / "fixtures/tasks/choices.jsonl"
    done = surgeon("scan", model, "--choices", tasks, "--store", "scan.db")
    assert_told(done, 2, "cannot score choices: it is ")


def test_a_store_in_a_folder_that_is_missing(surgeon: Run, stories: Path) -> None:
    done = surgeon("scan", stories, "--arithmetic", "4", "--store", "none/scan.db")
    assert_told(done, 5, "none does not exist")


def test_a_disk_that_fills(surgeon: Run, stories: Path, small_disk: Path) -> None:
    """One message, although the lease cannot be given back either."""
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 200 * 1024))
    done = surgeon("scan", stories, *SCAN, "--quiet")
    assert_told(done, 5, "disk is full")
    assert "the same command resumes from it" in done.stderr


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
    with started(
        [*command, "--arithmetic", "600"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
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
