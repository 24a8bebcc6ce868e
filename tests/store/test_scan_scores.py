"""The scores of scans in a store, leases, and stores of the version before."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.errors import UsageError
from ggufsurgeon.store.lease_owner import is_alive, this_owner
from ggufsurgeon.store.scan_scores import (
    ProbeKey,
    ProbeScores,
    ScannedItem,
    ScannedModel,
    ScannedPath,
)
from ggufsurgeon.store.schema import N_TABLES, TABLES, VERSION
from ggufsurgeon.store.store import opened_store
from tests.store.adding import KEY, PATH

PROBE = ProbeKey(KEY.model, KEY.machine, "text", "sha", "nats", {"seed": 1})


def test_scores_come_back_to_the_bit(tmp_path: Path) -> None:
    with opened_store(tmp_path / "scan.db") as store:
        probe = store.probe_scores(PROBE)
        probe.set_items([ScannedItem(f"item {n}", n) for n in range(3)])
        probe.add("0..4", 0, [1 / 3, float("nan")])
        probe.add("0..4", 2, [float("-inf")])
        probe.add("0..3", 2, [5.0])
    with opened_store(tmp_path / "scan.db") as store:
        again = store.probe_scores(PROBE)
        assert again.items()[2] == ScannedItem("item 2", 2)
        found = again.scores()
        assert found["0..4"][0] == 1 / 3 and np.isnan(found["0..4"][1])
        assert np.isnan(found["0..4"][2]), "earlier versions kept infinite scores"
        assert found["0..3"] == {2: 5.0}
        assert again.scored_paths(2) == {"0..4", "0..3"} and again.scored_paths(1) == {"0..4"}


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"items_sha256": "other"}, {"settings": {"seed": 2}}, {"unit": "x"}],
)
def test_another_probe_has_scores_of_its_own(tmp_path: Path, change: dict[str, object]) -> None:
    from dataclasses import replace

    with opened_store(tmp_path / "scan.db") as store:
        store.probe_scores(PROBE).add("0..4", 0, [1.0])
        other = replace(PROBE, **change)  # type: ignore[arg-type]
        if "unit" not in change:  # what a score is called does not change it
            assert store.probe_scores(other).scores() == {}


def test_what_another_process_has_added_stays(tmp_path: Path) -> None:
    with opened_store(tmp_path / "scan.db") as store:
        probe = store.probe_scores(PROBE)
        probe.add("0..4", 0, [1.0, 2.0])
        probe.add("0..4", 1, [9.0, 3.0])
        assert probe.scores()["0..4"] == {0: 1.0, 1: 2.0, 2: 3.0}


def test_models_and_paths(tmp_path: Path) -> None:
    model = ScannedModel("model.gguf", "llama", 5)
    paths = [ScannedPath("0..4,4", "", "", 1, 10, None), ScannedPath("0..3", "no", "", -1, -10, 3)]
    with opened_store(tmp_path / "scan.db") as store:
        number = store.model_number(KEY.model)
        store.scans.add_model(number, model, paths)
        store.scans.add_model(number, model, paths[:1])
        assert store.scans.models() == {number: model}
        assert sorted(store.scans.paths(number)) == sorted(paths)
        assert store.scans.fingerprint(number) == KEY.model
        store.probe_scores(PROBE)
        assert [(one.name, one.unit) for one in store.scans.probes(number)] == [("text", "nats")]


def test_settings_that_json_cannot_express(tmp_path: Path) -> None:
    from dataclasses import replace

    with opened_store(tmp_path / "scan.db") as store, pytest.raises(UsageError, match="JSON"):
        store.probe_scores(replace(PROBE, settings={"a": float("nan")}))


def claims(probe: ProbeScores, owner: str) -> bool:
    return probe.claim(0, "0..4", owner)


def test_a_lease_is_of_one_process_until_it_dies(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host, _, _ = json.loads(this_owner())
    stat = Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()[19]
    other = json.dumps([host, sleeper.pid, stat])
    with opened_store(tmp_path / "scan.db") as store:
        probe = store.probe_scores(PROBE)
        assert claims(probe, other) and claims(probe, other)
        assert not claims(probe, this_owner())
        assert probe.claim(5, "0..4", this_owner()), "another group is free"
        assert probe.claim(0, "0..3", this_owner()), "and other paths are"
        sleeper.kill()
        sleeper.communicate()
        assert claims(probe, this_owner())
        probe.release([(0, "0..4")], other)  # not its own any more
        probe.release([(0, "0..4")], this_owner())
        assert claims(probe, this_owner())


def test_a_process_number_that_is_used_again_is_another_process() -> None:
    host, pid, started = json.loads(this_owner())
    assert is_alive(this_owner())
    assert not is_alive(json.dumps([host, pid, str(int(started) + 1)]))
    assert is_alive(json.dumps(["elsewhere", pid, "1"])), "nobody here can tell"
    assert not is_alive("what is this")


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_store_of_an_earlier_version_gets_the_new_tables(tmp_path: Path, version: int) -> None:
    path = tmp_path / "scores.db"
    with opened_store(path) as store:
        store.measurement(KEY).add(PATH, 0, {"a": np.ones((2, 3))})
    with closing(sqlite3.connect(path)) as database:
        for statement in TABLES[N_TABLES[version] :]:
            database.execute(f"DROP TABLE {statement.split()[2]}")
        database.execute(f"PRAGMA user_version = {version}")
        database.commit()
    with opened_store(path) as store:
        assert (store.measurement(KEY).arrays(PATH)["a"] == 1).all()
        assert store.scans.models() == {}
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
