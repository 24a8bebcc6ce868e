"""Scans in several processes on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")
from tests.conftest import ROOT
from tests.interrupts import children, heed_interrupts
from tests.scanning.test_scan import scores_in

STORIES = ROOT / "fixtures/stories260K.gguf"
SCAN = ("scan", str(STORIES), "--arithmetic", "24")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "ggufsurgeon", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=ROOT, timeout=600
    )


def test_the_store_is_that_of_one_process(tmp_path: Path) -> None:
    """Two processes that have two threads together: one each."""
    for store, more in {"one.db": ("1",), "two.db": ("2", "--workers", "2")}.items():
        done = run(*SCAN, "--store", tmp_path / store, "--threads", *more)
        assert done.returncode == 0, done.stderr
    assert scores_in(tmp_path / "one.db") == scores_in(tmp_path / "two.db")
    again = run(*SCAN, "--store", tmp_path / "two.db", "--threads", "1")
    assert "the store has 1 other scan" not in again.stderr and " known" in again.stderr


def test_a_search_goes_on_from_it(tmp_path: Path) -> None:
    where = ("--store", tmp_path / "scan.db", "--threads", "2", "--workers", "2")
    assert run(*SCAN, *where).returncode == 0
    searched = ("search", STORIES, "--arithmetic", "24", "--max-blocks", "2", "--max-paths", "8")
    done = run(*searched, *where)
    assert done.returncode == 0, done.stderr


def test_not_with_a_cluster(tmp_path: Path) -> None:
    both = ("--workers", "2", "--scheduler", "tcp://127.0.0.1:1")
    done = run(*SCAN, "--store", tmp_path / "scan.db", *both)
    assert done.returncode == 2
    assert "--scheduler excludes it" in done.stderr
    assert not (tmp_path / "scan.db").exists()


def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    arguments = ("scan", STORIES, "--arithmetic", "2000", "--store", tmp_path / "scan.db")
    scan = subprocess.Popen(
        command(*arguments, "--threads", "2", "--workers", "2"),
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=heed_interrupts,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not children(scan.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = children(scan.pid)
    assert workers
    scan.send_signal(signal.SIGINT)
    _, told = scan.communicate(timeout=300)
    assert scan.returncode == 130
    assert "resumes the scan" in told and "Traceback" not in told
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
