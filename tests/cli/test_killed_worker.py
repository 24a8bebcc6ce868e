"""A worker that is killed in the middle of a long measurement: what is kept is told."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.verification.model_runs.model_run import shakespeare
from tests.conftest import ROOT
from tests.interrupts import children, started


@pytest.mark.skipif(sys.platform != "linux", reason="asks ps for children")
def test_the_store_that_keeps_chunks_is_named(stories: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(shakespeare())
    options = ["-f", "text.txt", "-c", "64", "--store", "chunks.db", "--threads", "1"]
    command = [sys.executable, "-m", "ggufsurgeon", "perplexity", str(stories), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with started(
        command,
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        end = time.monotonic() + 60
        while n_kept(tmp_path / "chunks.db") == 0 and time.monotonic() < end:
            time.sleep(0.05)
        (worker,) = children(process.pid)
        os.kill(worker, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 6
    assert re.search(r"chunks\.db has all chunks so far; the same command resumes", errors), errors


def n_kept(store: Path) -> int:
    """Rows of scores so far."""
    if not store.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM scores").fetchone()[0])
    except sqlite3.OperationalError:  # its tables are being made
        return 0
