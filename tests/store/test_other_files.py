"""Files that are no stores are refused, and left as they are."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.errors import RefusedError, UsageError, WriteFailedError
from ggufsurgeon.store.schema import VERSION
from ggufsurgeon.store.store import opened_store, readable_store
from tests.store.adding import KEY, PATH


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(store: Path, match: str) -> None:
    """Nothing in the folder changes, beside the store either."""
    before = contents(store.parent)
    with pytest.raises(RefusedError, match=match), opened_store(store):
        pass
    assert contents(store.parent) == before


OTHER_FILES = {
    "a text": (b"hello", "not a store"),
    "JSON": (b"{}\n" * 999, "not a store"),
    "an earlier version": (b'{"kind": "ggufsurgeon perplexity", "a": 1}\n', "an earlier version"),
    "half a database": (b"SQLite format 3\0" + bytes(100), "not a store"),
    "zeros": (bytes(8192), "not a store"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_what_is_no_store_is_left_alone(tmp_path: Path, kind: str) -> None:
    content, told = OTHER_FILES[kind]
    store = tmp_path / "notes.txt"
    store.write_bytes(content)
    refused(store, told)


def test_a_file_that_is_to_be_read_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 9)
    is_refused = pytest.raises(RefusedError, match="not a store")
    with is_refused as caught, readable_store(tmp_path / "model.gguf"):
        pass
    assert caught.value.state == "" and caught.value.hint.startswith("It was only read.")


MAKE_A_DATABASE = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
database.execute("CREATE TABLE mine (a)")
database.commit()
os._exit(0)
"""


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_databases_of_others_are_left_alone(tmp_path: Path, journal: str) -> None:
    """Also those whose program was killed: opening one would take in its write-ahead log."""
    store = tmp_path / "theirs.db"
    subprocess.run([sys.executable, "-c", MAKE_A_DATABASE, store, journal], check=True)
    assert (tmp_path / "theirs.db-wal").exists() == (journal == "wal")
    refused(store, "another program")


@pytest.mark.parametrize("version", [0, VERSION + 1, 99])
def test_other_schemas_are_left_alone(tmp_path: Path, version: int) -> None:
    store = tmp_path / "scores.db"
    with opened_store(store):
        pass
    with closing(sqlite3.connect(store)) as database:
        database.execute(f"PRAGMA user_version = {version}")
    refused(store, f"{'a newer' if version else 'another'} version.*schema {version}")


@pytest.mark.parametrize("place", [0, 18, 60, 4096 + 8, 8192 + 8, -4096])
def test_damaged_pages_are_refused(tmp_path: Path, place: int) -> None:
    store = tmp_path / "scores.db"
    with opened_store(store) as opened:
        opened.measurement(KEY).add(PATH, 0, {"a": np.zeros((9, 9999))})
    data = bytearray(store.read_bytes())
    data[place : place + 8 or None] = b"\xff" * 8
    store.write_bytes(data)
    refused(store, "damaged|not a store|another program|another version|a newer")
    store.write_bytes(data[: len(data) // 2])
    refused(store, "damaged|not a store|another program|another version|a newer")


def test_places_that_take_no_store(tmp_path: Path) -> None:
    for place in ("absent/store", "a" * 300):
        with (
            pytest.raises(WriteFailedError, match="cannot be opened"),
            opened_store(tmp_path / place),
        ):
            pass
    os.mkfifo(tmp_path / "pipe")
    for place in ("pipe", ".", "/dev/null", "/dev/full"):
        with (
            pytest.raises(UsageError, match="not a regular file"),
            opened_store(tmp_path / place),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory", "100% of it", "a#b", " "])
def test_any_name_is_that_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with opened_store(Path(name)) as opened:
        opened.measurement(KEY).add(PATH, 0, {"a": np.array([1])})
    with opened_store(tmp_path / name) as opened:
        assert opened.measurement(KEY).arrays(PATH)["a"].tolist() == [1]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    store = tmp_path / "scores.db"
    store.touch()
    with opened_store(store) as opened:
        opened.measurement(KEY)
    assert store.read_bytes().startswith(b"SQLite format 3\0")
