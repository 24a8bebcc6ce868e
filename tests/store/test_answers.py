"""Answers in a store: what comes back, several processes at once, kills, a full disk."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.store.answers import EvaluationKey, KeptAnswer
from ggufsurgeon.store.fingerprint import ModelFingerprint
from ggufsurgeon.store.machine import Machine
from ggufsurgeon.store.store import opened_store
from tests.conftest import ROOT

KEY = EvaluationKey(
    ModelFingerprint("header", "data", 1000), Machine("an engine", "a CPU", "[]"), {"n_ctx": 64}
)
PATH = "0..4,3..4"
ADDING = """
import sys
from pathlib import Path
from ggufsurgeon.errors import GgufSurgeonError
from ggufsurgeon.store.answers import KeptAnswer
from ggufsurgeon.store.store import opened_store
from tests.store.test_answers import KEY, PATH, digest
store, name, first, last = sys.argv[1:]
try:
    with opened_store(Path(store)) as opened:
        kept = opened.answers(KEY)
        for n in range(int(first), int(last), 10):
            group = range(n, n + 10)
            kept.add(KeptAnswer(PATH, digest(each), (name * 200, each)) for each in group)
            print(n, flush=True)
except GgufSurgeonError as error:
    print(error, error.state, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def digest(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def start(store: Path, name: str, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ADDING, str(store), name, str(first), str(last)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    given = [(-1 / 3, True, 0), (None, False, 7), ("text \0 \n é \udcff 漢", 5, True, 0), (None, 0)]
    with opened_store(tmp_path / "store") as store:
        store.answers(KEY).add(KeptAnswer(PATH, digest(n), one) for n, one in enumerate(given))
    with opened_store(tmp_path / "store") as store:
        kept = store.answers(KEY)
        assert kept.along(PATH) == {digest(n): one for n, one in enumerate(given)}
        assert kept.along("0..4") == {}
        other = replace(KEY, settings={"n_ctx": 128})
        assert store.answers(other).along(PATH) == {}


def test_the_first_answer_stays(tmp_path: Path) -> None:
    with opened_store(tmp_path / "store") as store:
        kept = store.answers(KEY)
        kept.add([KeptAnswer(PATH, digest(0), (1.0,))])
        kept.add([KeptAnswer(PATH, digest(0), (2.0,)), KeptAnswer(PATH, digest(1), (3.0,))])
        assert kept.along(PATH) == {digest(0): (1.0,), digest(1): (3.0,)}


def test_several_processes_at_once(tmp_path: Path) -> None:
    """They answer overlapping requests: each is kept once, whole."""
    store = tmp_path / "store"
    processes = [start(store, name, 50 * n, 50 * n + 150) for n, name in enumerate("abc")]
    for process in processes:
        assert process.communicate(timeout=60)[1] == "" and process.returncode == 0
    with opened_store(store) as opened:
        found = opened.answers(KEY).along(PATH)
    assert {values[1] for values in found.values()} == set(range(250))
    assert {values[0] for values in found.values()} <= {name * 200 for name in "abc"}


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    store, rng = tmp_path / "store", random.Random(0)
    for _ in range(6):
        process = start(store, "a", 0, 200_000)
        time.sleep(rng.uniform(0.3, 0.6))
        process.kill()
        printed = process.communicate()[0].split()
        with opened_store(store) as opened:
            found = opened.answers(KEY).along(PATH)
        assert len(found) % 10 == 0
        assert all(digest(int(n)) in found for n in printed)


def test_a_full_disk(small_disk: Path) -> None:
    store = small_disk / "store"
    process = start(store, "a", 0, 100_000)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 5 and "full" in errors and "what was found before" in errors
    with opened_store(store) as opened:
        found = opened.answers(KEY).along(PATH)
    assert printed.split() and len(found) >= 10 * len(printed.split())


@pytest.mark.parametrize("answer", ["nonsense", "5", '{"a": NaN', ""])
def test_what_was_not_written_is_refused(tmp_path: Path, answer: str) -> None:
    with opened_store(tmp_path / "store") as store:
        store.answers(KEY).add([KeptAnswer(PATH, digest(0), (1.0,))])
    with closing(sqlite3.connect(tmp_path / "store")) as database:
        database.execute("UPDATE answer SET answer = ?", (answer,))
        database.commit()
    with opened_store(tmp_path / "store") as store, pytest.raises(RefusedError, match="damaged"):
        store.answers(KEY).along(PATH)
