"""What is added to a store comes back to the bit, and measurements are kept apart."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.store.fingerprint import (
    ModelFingerprint,
    TextFingerprint,
    data_fingerprint,
)
from ggufsurgeon.store.machine import Machine
from ggufsurgeon.store.store import opened_store
from tests.store.adding import KEY, PATH

ARRAYS: dict[str, Any] = {
    "64-bit floats": np.sqrt(np.arange(12)).reshape(2, 6),
    "numbers that are none": np.array([[np.nan, -np.inf, -0.0]] * 2),
    "32-bit floats": np.sqrt(np.arange(12, dtype=np.float32)).reshape(2, 6),
    "another byte order": np.arange(12, dtype=">i4").reshape(2, 6),
    "booleans": np.array([True, False]),
    "another order in memory": np.arange(24).reshape(3, 4, 2).T,
    "a part of another": np.arange(40).reshape(4, 10)[::2, ::3],
    "no tokens": np.empty((2, 0)),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_come_back_to_the_bit(tmp_path: Path, kind: str) -> None:
    store, array = tmp_path / "scores.db", ARRAYS[kind]
    with opened_store(store) as opened:
        measurement = opened.measurement(KEY)
        measurement.add(PATH, 0, {"a": array, "b": array[:, None]})
        measurement.add(PATH, 2, {"a": array, "b": array[:, None]})
    with opened_store(store) as opened:
        found = opened.measurement(KEY).arrays(PATH)
        assert opened.measurement(KEY).arrays("0..4") == {}
    assert found.keys() == {"a", "b"}
    for name, expected in (("a", array), ("b", array[:, None])):
        both = np.concatenate([expected, expected])
        assert found[name].shape == both.shape
        assert found[name].tobytes() == both.astype(both.dtype.newbyteorder("<")).tobytes()


OTHERS = {
    "header": replace(KEY, model=KEY.model._replace(header_sha256="another")),
    "data": replace(KEY, model=KEY.model._replace(data_fingerprint="another")),
    "size": replace(KEY, model=KEY.model._replace(n_bytes=1)),
    "text": replace(KEY, text=TextFingerprint.of(b"another text")),
    "engine": replace(KEY, machine=KEY.machine._replace(engine="another")),
    "CPU": replace(KEY, machine=KEY.machine._replace(cpu="another")),
    "GPUs": replace(KEY, machine=KEY.machine._replace(gpus='["one"]')),
    "a setting": replace(KEY, settings={**KEY.settings, "n_ctx": 65}),
    "reference": replace(KEY, reference={"layer_path": None}),
}


def test_measurements_are_kept_apart(tmp_path: Path) -> None:
    keys = [KEY, *OTHERS.values()]
    store = tmp_path / "scores.db"
    with opened_store(store) as opened:
        for number, key in enumerate(keys):
            opened.measurement(key).add(PATH, 0, {"a": np.array([number])})
    with opened_store(store) as opened:
        found = [opened.measurement(key).arrays(PATH)["a"].tolist() for key in keys]
    assert found == [[number] for number in range(len(keys))]


def test_the_order_of_settings_is_none(tmp_path: Path) -> None:
    with opened_store(tmp_path / "scores.db") as opened:
        opened.measurement(KEY).add(PATH, 0, {"a": np.array([1])})
        other = replace(KEY, settings={"n_batch": None, "n_ctx": 64})
        assert opened.measurement(other).arrays(PATH)["a"].tolist() == [1]


def test_chunks_are_added_once_and_wholly(tmp_path: Path) -> None:
    with opened_store(tmp_path / "scores.db") as opened:
        measurement = opened.measurement(KEY)
        measurement.add(PATH, 0, {"a": np.array([1])})
        with pytest.raises(UsageError, match="in use by another run of the same measurement"):
            measurement.add(PATH, 0, {"b": np.array([2]), "a": np.array([2])})
        assert measurement.arrays(PATH)["a"].tolist() == [1]
        assert measurement.arrays(PATH).keys() == {"a"}


def test_any_sqlite_tool_reads_it(tmp_path: Path) -> None:
    store = tmp_path / "scores.db"
    with opened_store(store) as opened:
        opened.measurement(KEY).add(PATH, 0, {"losses": np.array([[0.5, 2.0]])})
    with closing(sqlite3.connect(store)) as database:
        query = """
            SELECT header_sha256, engine, cpu, settings, reference, layer_path, shape, hex(data)
            FROM scores JOIN measurement ON measurement.id = scores.measurement
            JOIN model ON model.id = model JOIN machine ON machine.id = machine
        """
        (row,) = database.execute(query).fetchall()
        schema = "".join(sql or "" for (sql,) in database.execute("SELECT sql FROM sqlite_master"))
    assert row[:3] == ("header", "an engine", "a CPU")
    assert row[3:7] == ('{"n_batch": null, "n_ctx": 64}', "null", PATH, "[1, 2]")
    assert bytes.fromhex(row[7]) == np.array([0.5, 2.0]).tobytes()
    assert "-- SHA-256 of a sample of the tensor data" in schema


DAMAGES = {
    "a group is missing": "DELETE FROM scores WHERE first_chunk = 2",
    "the first group is missing": "DELETE FROM scores WHERE first_chunk = 0",
    "an array is missing": "DELETE FROM scores WHERE first_chunk = 2 AND name = 'b'",
    "an array is cut short": "UPDATE scores SET data = substr(data, 9) WHERE first_chunk = 0",
    "an array is empty": "UPDATE scores SET data = x'' WHERE first_chunk = 0",
    "an array is a text": "UPDATE scores SET data = 'abcdefghijklmnop' WHERE name = 'b'",
    "a type is none": "UPDATE scores SET dtype = 'no' WHERE first_chunk = 0",
    "a type holds pointers": "UPDATE scores SET dtype = 'O' WHERE first_chunk = 0",
    "a shape is none": "UPDATE scores SET shape = 'no' WHERE first_chunk = 0",
    "a shape is no list": "UPDATE scores SET shape = '2' WHERE first_chunk = 0",
    "a shape fits any length": "UPDATE scores SET shape = '[-1]' WHERE first_chunk = 0",
    "a table is gone": "DROP TABLE scores",
    "a table is another": "ALTER TABLE scores RENAME COLUMN name TO title",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused(tmp_path: Path, damage: str) -> None:
    store, array = tmp_path / "scores.db", np.array([1.0, 2.0])
    with opened_store(store) as opened:
        for first in (0, 2, 4):
            opened.measurement(KEY).add(PATH, first, {"a": array, "b": array})
    with closing(sqlite3.connect(store)) as database, database:
        database.execute(DAMAGES[damage])
    with pytest.raises(RefusedError, match="a damaged store"), opened_store(store) as opened:
        opened.measurement(KEY).arrays(PATH)


def test_what_others_add_is_no_damage(tmp_path: Path) -> None:
    store = tmp_path / "scores.db"
    with opened_store(store) as opened:
        opened.measurement(KEY).add(PATH, 0, {"a": np.array([1])})
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("CREATE VIEW mine AS SELECT layer_path FROM scores")
        database.execute("CREATE TABLE notes (note)")
    with opened_store(store) as opened:
        assert opened.measurement(KEY).arrays(PATH)["a"].tolist() == [1]


def test_fingerprints(tmp_path: Path, stories: Path) -> None:
    found = ModelFingerprint.of(stories)
    assert found.n_bytes == stories.stat().st_size
    other = tmp_path / "other.gguf"
    data = bytearray(stories.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    assert ModelFingerprint.of(other)[::2] == found[::2]
    assert ModelFingerprint.of(other).data_fingerprint != found.data_fingerprint
    assert data_fingerprint(other) != data_fingerprint(stories)
    with pytest.raises(UsageError, match="cannot be read"):
        data_fingerprint(tmp_path / "absent")


def test_this_machine_is_told() -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    from ggufsurgeon.store.machine import this_machine
    from ggufsurgeon.workers.runner import InProcess
    from ggufsurgeon.workers.worker import Worker

    found = this_machine(InProcess())
    assert isinstance(found, Machine)
    with Worker() as worker:
        assert this_machine(worker) == found
    assert "llama-cpp-python" in found.engine and found.cpu and found.gpus.startswith("[")
    if Path("/proc/cpuinfo").exists() and os.uname().machine == "x86_64":
        assert found.cpu in Path("/proc/cpuinfo").read_text()
