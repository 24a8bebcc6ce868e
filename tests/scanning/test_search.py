"""Searches of real models: scores are those of written files, and kills change nothing."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.api.reports.search_reports import search_findings
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.jobs.job import Scored, Work, scan_job
from ggufsurgeon.scanning.probes.arithmetic import ArithmeticProbe
from ggufsurgeon.scanning.probes.arithmetic_answers import ArithmeticAnswerProbe
from ggufsurgeon.scanning.racing.race import Race
from ggufsurgeon.scanning.search.limits import SearchItems, SearchLimits
from ggufsurgeon.scanning.search.search import SearchStep
from ggufsurgeon.scanning.windows import WindowRange, drops, repeats
from ggufsurgeon.workers.runner import InProcess
from tests.conftest import ROOT
from tests.models.expanding import expand_named

DEVICES = gs.Devices(n_threads=1)
PROBE = ArithmeticProbe(12)
SMALL: dict[str, Any] = {"max_blocks": 3, "beam": 2, "max_paths": 14}


def windows(n_blocks: int, largest: int = 2) -> list[LayerPath]:
    within = WindowRange(largest=largest)
    return [one.path for one in [*repeats(n_blocks, within), *drops(n_blocks, within)]]


@pytest.fixture(scope="module")
def scanned(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store of a scan of stories260K."""
    store = tmp_path_factory.mktemp("scan") / "scan.db"
    with gs.load(stories, DEVICES) as model:
        model.scan(store, PROBE, windows(5))
    with closing(sqlite3.connect(store)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return store.read_bytes()


@pytest.fixture
def store(scanned: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "scan.db"
    path.write_bytes(scanned)
    return path


def scores_in(store: Path) -> list[tuple[str, str, int, float | None]]:
    query = "SELECT name, layer_path, item, score FROM item_score JOIN probe ON probe = id"
    with closing(sqlite3.connect(store)) as database:
        return sorted(database.execute(query).fetchall(), key=repr)


def test_scores_are_those_of_the_written_files(store: Path, stories: Path, tmp_path: Path) -> None:
    """To the last bit, in the batches of the search: of every path that it ran."""
    with gs.load(stories, DEVICES) as model:
        found = model.search(store, PROBE, **SMALL)
    known = [row for row in scores_in(store) if row[0] == "arithmetic-search"]
    assert 8 < len(found.tried) <= 14
    assert any("*" in path.layer_path for path in found.tried)
    for path in found.tried:
        file = (
            gs.open(stories)
            .plan(LayerPath(path.layer_path))
            .write(tmp_path / "p.gguf", replace=True)
        )
        emitted: list[Scored] = []
        with InProcess() as runner:
            work = [Work(0, (LayerPath.identity(gs.open(file).n_blocks),))]
            over = file, DEVICES, PROBE, SearchItems()
            runner.run(scan_job, *over, work, on_result=emitted.append)
        ours = [row[3] for row in known if row[1] == path.layer_path and row[2] < 6]
        assert ours == list(emitted[0].scores)


def test_a_search_leaves_its_scan_alone(store: Path, stories: Path) -> None:
    """Its paths were chosen by their scores, which would spoil the p-values of the scan."""
    before = gs.scan_findings(store)
    with gs.load(stories, DEVICES) as model:
        model.search(store, PROBE, **SMALL)
    assert gs.scan_findings(store) == before


def test_held_out_items_are_run_along_the_best_of_each_length_alone(
    store: Path, stories: Path
) -> None:
    with gs.load(stories, DEVICES) as model:
        found = model.search(store, PROBE, **SMALL)
    of_items = {(path, item) for name, path, item, _ in scores_in(store) if name.endswith("search")}
    judged = {path for path, item in of_items if item >= found.n_search}
    assert judged == {"0..4", *(best.path.layer_path for best in found.best)}
    lengths = {path.cost.n_blocks for path in found.tried}
    assert [best.path.cost.n_blocks for best in found.best] == sorted(lengths)
    assert all(best.path.cost.n_blocks <= 3 and best.held_out for best in found.best)


def test_what_is_known_is_not_run_again(store: Path, stories: Path) -> None:
    steps: list[SearchStep] = []
    with gs.load(stories, DEVICES) as model:
        found = model.search(store, PROBE, **SMALL)
        again = model.search(store, PROBE, **SMALL, on_step=steps.append)
        assert again == found and sum(step.n_passes for step in steps) == 0
        steps.clear()
        wider = model.search(store, PROBE, **{**SMALL, "beam": 3}, on_step=steps.append)
    assert sum(step.n_passes for step in steps) < len(wider.tried)
    assert search_findings(store) == (found, wider)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_windows"),
    [("llama4-moe", 32), ("talkie-dense", 32), ("gemma2-dense", 32), ("mamba-dense", 3)],
)
def test_only_what_can_be_written_is_tried(name: str, n_windows: int, tmp_path: Path) -> None:
    """Some of their windows have no exact file, some cannot be routed, or have no strength."""
    model = expand_named(f"{name}@words=stories260K", tmp_path / "model.gguf")
    file = gs.open(model)
    with gs.load(model, DEVICES) as loaded:
        loaded.scan(tmp_path / "scan.db", PROBE, windows(file.n_blocks, 4)[:n_windows])
        found = loaded.search(
            tmp_path / "scan.db", PROBE, max_blocks=8, beam=2, max_paths=min(12, n_windows)
        )
    assert found.tried and found.luck is not None
    for path in found.tried:
        file.plan(LayerPath(path.layer_path))  # raises where it is refused


def test_nothing_that_can_be_composed(store: Path, stories: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.db"
    with gs.load(stories, DEVICES) as model:
        model.scan(alone, PROBE, [LayerPath("0..4,0..4"), LayerPath("4,3,2,1,0")])
        with pytest.raises(RefusedError, match=r"none of the 1 windows .* adds at most 2"):
            model.search(alone, PROBE, max_blocks=2)


def test_bad_requests(store: Path, stories: Path, tmp_path: Path) -> None:
    with gs.load(stories, DEVICES) as model:
        with pytest.raises(UsageError, match=r"no scan of .* by the probe arithmetic with these"):
            model.search(store, ArithmeticProbe(12, seed=1))
        with pytest.raises(UsageError, match="there is no such store"):
            model.search(tmp_path / "absent.db", PROBE)
        assert not (tmp_path / "absent.db").exists()
        with pytest.raises(UsageError, match="not answers"):
            model.search(store, ArithmeticAnswerProbe(12))
        with pytest.raises(UsageError, match="are too few; each needs 5"):
            model.search(store, PROBE, held_out=0.8)
        with pytest.raises(UsageError, match="expected one between 0 and 1"):
            model.search(store, PROBE, held_out=1.0)
        with pytest.raises(UsageError, match="expected numbers above 0"):
            model.search(store, PROBE, beam=0)
        with pytest.raises(UsageError, match="strength of nan"):
            model.search(store, PROBE, strengths=(float("nan"),))
        with pytest.raises(UsageError, match="repeats of the strength 0, which do nothing"):
            model.search(store, PROBE, strengths=(0.5, 0))
        raced = tmp_path / "raced.db"
        model.scan(raced, PROBE, windows(5), race=Race())
        with pytest.raises(UsageError, match="no scan"):
            model.search(raced, PROBE)


def test_limits_come_back_from_a_store() -> None:
    limits = SearchLimits(3, 4, 5, (0.25, 1, 0.1, 0.25))
    assert limits.strengths[0] == 0.25 and len(limits.strengths) == 2
    assert SearchLimits.of_settings(json.loads(json.dumps(limits.settings()))) == limits
    assert SearchItems.of_settings(SearchItems(0.25, 3).settings()) == SearchItems(0.25, 3)


def test_scores_of_an_old_store_without_searches(store: Path, stories: Path) -> None:
    """Tables that it lacks are added."""
    with closing(sqlite3.connect(store)) as database:
        database.execute("DROP TABLE search")
        database.execute("PRAGMA user_version = 4")
        database.commit()
    assert search_findings(store) == ()
    with gs.load(stories, DEVICES) as model:
        assert model.search(store, PROBE, **SMALL) in search_findings(store)


PROBLEMS = ("--arithmetic", "480", "--threads", "1")


def start(command: str, stories: Path, store: Path, *options: str) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "ggufsurgeon", command, str(stories), "--store", str(store)]
    return subprocess.Popen(
        [*program, *PROBLEMS, *options],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_ends_as_one_that_was_not(
    stories: Path, tmp_path: Path
) -> None:
    generator = random.Random(3)
    whole, killed = tmp_path / "whole.db", tmp_path / "killed.db"
    for store in (whole, killed):
        assert start("scan", stories, store, "--windows", "0..4:1").wait(300) == 0
    options = ("--max-blocks", "3", "--beam", "2", "--max-paths", "24")
    assert start("search", stories, whole, *options).wait(300) == 0
    n_killed = 0
    while n_killed < 12:
        n_before = len(scores_in(killed))
        process = start("search", stories, killed, *options)
        while process.poll() is None and len(scores_in(killed)) == n_before:
            time.sleep(0.01)
        time.sleep(generator.random() * 0.5)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        n_killed += 1
    assert start("search", stories, killed, *options).wait(300) == 0
    assert n_killed >= 3
    assert scores_in(killed) == scores_in(whole)
    assert search_findings(killed) == search_findings(whole)


@pytest.mark.slow
def test_two_processes_make_one_search(stories: Path, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone.db", tmp_path / "together.db"
    for store in (alone, together):
        assert start("scan", stories, store, "--windows", "0..4:1").wait(300) == 0
    options = ("--max-blocks", "3", "--beam", "2", "--max-paths", "24")
    assert start("search", stories, alone, *options).wait(300) == 0
    processes = [start("search", stories, together, *options) for _ in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    assert scores_in(together) == scores_in(alone)
    assert search_findings(together) == search_findings(alone)
