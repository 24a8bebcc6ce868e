"""Stores and real processes: several at once, killed ones, powerless ones, full disks."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.store.store import opened_store
from tests.conftest import ROOT
from tests.store.adding import KEY, PATH, scores
from tests.writing.powerless import powerless_prefix

Process = subprocess.Popen[str]


def start(store: Path, n_groups: int, *busy: str, prefix: tuple[str, ...] = ()) -> Process:
    command = [*prefix, sys.executable, "-m", "tests.store.adding", str(store), str(n_groups)]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *busy], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def assert_holds(store: Path, n_groups: int) -> None:
    with opened_store(store) as opened:
        found = opened.measurement(KEY).arrays(PATH)["losses"]
    assert np.array_equal(found, np.concatenate([scores(2 * n) for n in range(n_groups)]))


def test_the_same_measurement_twice_at_once(tmp_path: Path) -> None:
    """Each group is kept once; who comes second to a group is refused."""
    store = tmp_path / "scores.db"
    processes = [start(store, 60) for _ in range(3)]
    ends = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    added = [int(first) for printed, _, _ in ends for first in printed.split()]
    assert sorted(added) == list(range(0, 120, 2))
    assert {code for *_, code in ends} <= {0, 2}
    assert all("in use by another run" in errors for _, errors, code in ends if code)
    assert_holds(store, 60)


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    store = tmp_path / "scores.db"
    with start(store, 1) as process:
        assert process.wait(60) == 0
    with closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        with start(store, 2) as waiting, start(store, 2, "0.2") as impatient:
            errors = impatient.communicate(timeout=60)[1]
            assert impatient.returncode == 5
            assert "another process keeps it locked" in errors
            assert "Wait for that process to end" in errors
            assert waiting.poll() is None
            database.execute("COMMIT")
            assert waiting.communicate(timeout=60)[0].split() == ["2"]
    assert_holds(store, 2)


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """What a process said it had committed is there, in one piece, and is gone on with."""
    store, rng, n_known = tmp_path / "scores.db", random.Random(0), 0
    for _ in range(8):
        with start(store, 10_000) as process:
            assert process.stdout is not None
            first = process.stdout.readline()  # it starts slowly where the machine is busy
            time.sleep(rng.uniform(0, 0.3))
            process.kill()
            printed = [first, *process.communicate()[0].split()]
        n_known = max([n_known, *(int(first) // 2 + 1 for first in printed)])
        with opened_store(store) as opened:
            found = len(opened.measurement(KEY).arrays(PATH).get("losses", ())) // 2
        assert n_known <= found <= n_known + 1
        n_known = found
    assert n_known > 8
    assert_holds(store, n_known)


def test_without_permission(tmp_path: Path) -> None:
    store = tmp_path / "scores.db"
    with start(store, 1) as process:
        assert process.wait(60) == 0
    for mode, folder_mode, told in (
        (0o000, 0o755, "Permission denied"),
        (0o444, 0o755, "readonly"),
        (0o644, 0o555, "readonly|unable to open"),
    ):
        store.chmod(mode)
        tmp_path.chmod(folder_mode)
        with start(store, 2, prefix=powerless_prefix()) as process:
            errors = process.communicate(timeout=60)[1]
        tmp_path.chmod(0o755)
        store.chmod(0o644)
        assert process.returncode == 5, errors
        assert any(part in errors for part in told.split("|")), errors
        assert_holds(store, 1)


def test_a_full_disk(small_disk: Path) -> None:
    """What fitted stays, and is gone on with once there is room."""
    store, ballast = small_disk / "scores.db", small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    with start(store, 12) as process:
        printed, errors = process.communicate(timeout=60)
    assert (process.returncode, "full" in errors) == (5, True)
    assert "holds what was found before" in errors
    n_fitting = len(printed.split())
    assert 0 < n_fitting < 12
    assert_holds(store, n_fitting)
    ballast.unlink()
    with start(store, n_fitting + 3) as process:
        assert process.wait(60) == 0
    assert_holds(store, n_fitting + 3)


def test_no_room_at_all(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 4096))
    with start(small_disk / "scores.db", 1) as process:
        errors = process.communicate(timeout=60)[1]
    assert (process.returncode, "full" in errors) == (5, True), errors
