"""Races of a real model: the winner of the whole scan, the same scores, and what is told."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.multiple_choice.task_files import read_tasks
from ggufsurgeon.multiple_choice.tasks import TaskFormat
from ggufsurgeon.scanning.jobs.job import Scored
from ggufsurgeon.scanning.probes.arithmetic import ArithmeticProbe
from ggufsurgeon.scanning.probes.choices import ChoicesProbe
from ggufsurgeon.scanning.probes.probe import Probe
from ggufsurgeon.scanning.racing.race import Race
from ggufsurgeon.scanning.scan import ScanSize
from ggufsurgeon.scanning.verdicts.findings import ProbeFindings
from ggufsurgeon.scanning.windows import WindowRange, repeats
from tests.conftest import ROOT, Run

PATHS = [one.path for one in repeats(5, WindowRange())]
PROBE = ArithmeticProbe(64)
ROUNDED = 0.02
"""Sums of log-probabilities differ by the batches that their items ride in."""


def scan(model: Path, store: Path, probe: Probe, race: Race | None) -> tuple[ScanSize, int]:
    """Scan in this process; the size that is told, and the item passes that are run."""
    sizes, n_run = list[ScanSize](), [0]

    def count(scored: Scored) -> None:
        n_run[0] += len(scored.scores)

    with gs.load(model, gs.Devices(n_threads=1)) as loaded:
        loaded.scan(store, probe, PATHS, race=race, on_size=sizes.append, on_result=count)
    return sizes[0], n_run[0]


def rows_in(store: Path) -> list[tuple[str, int, float]]:
    query = "SELECT layer_path, item, score FROM item_score ORDER BY layer_path, item"
    with closing(sqlite3.connect(store)) as database:
        return database.execute(query).fetchall()


def only_probe(store: Path) -> ProbeFindings:
    (found,) = gs.scan_findings(store)
    (probe,) = found.probes
    return probe


@pytest.fixture(scope="module")
def stores(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A whole scan and a race over the same items."""
    folder = tmp_path_factory.mktemp("race")
    scan(stories, folder / "whole.db", PROBE, None)
    size, n_run = scan(stories, folder / "raced.db", PROBE, Race())
    assert n_run == size.n_item_passes == len(rows_in(folder / "raced.db"))
    assert size.n_item_passes_of_all == len(rows_in(folder / "whole.db"))
    return folder / "whole.db", folder / "raced.db"


def test_the_winner_is_that_of_the_whole_scan(stores: tuple[Path, Path]) -> None:
    whole, raced = map(only_probe, stores)
    assert (whole.probe, raced.probe) == ("arithmetic", "arithmetic-race")
    assert whole.paths[0].layer_path == raced.paths[0].layer_path
    for one, other in (
        (whole.paths[0].search, raced.paths[0].search),
        (whole.paths[0].held_out, raced.paths[0].held_out),
    ):
        assert one is not None and other is not None
        assert one.value == pytest.approx(other.value, abs=ROUNDED)
    assert raced.paths[0].p_value is None and math.isnan(raced.luck_z)
    assert "held-out items" in raced.verdict


def by_label(probe: ProbeFindings) -> dict[tuple[str, str], float]:
    return {
        (path.layer_path, label): base + difference
        for path in probe.paths
        for label, base, difference in zip(
            probe.item_labels, probe.item_bases, path.differences, strict=False
        )
    }


def test_scores_are_those_of_the_same_items(stores: tuple[Path, Path]) -> None:
    """In another order, of which the same split holds out the same items."""
    whole, raced = map(only_probe, stores)
    expected = by_label(whole)
    found = by_label(raced)
    assert len(found) > 200
    assert found == {key: pytest.approx(expected[key], abs=ROUNDED) for key in found}
    held_out = [
        {label for label, is_out in zip(one.item_labels, one.is_held_out, strict=True) if is_out}
        for one in (whole, raced)
    ]
    assert held_out[0] == held_out[1] and len(held_out[0]) == 32


def test_each_task_is_scored_by_its_own_answer(stories: Path, tmp_path: Path) -> None:
    tasks = read_tasks(ROOT / "fixtures/tasks/choices.jsonl", TaskFormat.JSONL)
    found = []
    for race in (None, Race()):
        store = tmp_path / f"{race is None}.db"
        scan(stories, store, ChoicesProbe(tuple(tasks)), race)
        found.append(by_label(only_probe(store)))
    assert found[1] == {key: pytest.approx(found[0][key], abs=ROUNDED) for key in found[1]}


class Killed(Exception):
    """What ends a scan in the midst of it."""


def test_a_race_that_is_interrupted_goes_on_to_the_same_scores(
    stories: Path, tmp_path: Path, stores: tuple[Path, Path]
) -> None:
    n_left, n_interrupted, store = 0, 0, tmp_path / "scan.db"
    generator = random.Random(3)

    def interrupt(_: Scored) -> None:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise Killed

    while True:
        n_left = generator.randint(1, 12)
        try:
            with gs.load(stories, gs.Devices(n_threads=1), in_process=True) as model:
                model.scan(store, PROBE, PATHS, race=Race(), on_result=interrupt)
            break
        except Killed:
            n_interrupted += 1
            assert "Noise" not in only_probe(store).verdict
    assert n_interrupted >= 4 and rows_in(store) == rows_in(stores[1])


def test_another_race_is_another_probe(stories: Path, tmp_path: Path) -> None:
    store = tmp_path / "scan.db"
    for race in (Race(), Race(seed=1), Race(0.25), None):
        scan(stories, store, ArithmeticProbe(24), race)
    (found,) = gs.scan_findings(store, held_out=0.75, seed=5)
    n_held_out = [sum(probe.is_held_out) for probe in found.probes]
    assert n_held_out == [12, 12, 6, 18]
    assert found.probes[0].is_held_out != found.probes[3].is_held_out
    assert set(found.probes[0].item_labels[:12]) != set(found.probes[1].item_labels[:12])


OPTIONS = ("--arithmetic", "64", "--windows", "0..4", "--threads", "1", "--race")


def test_the_command(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    done = surgeon("scan", stories, "--store", "scan.db", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "a race has 380 passes of an item, where the whole scan has 1024" in done.stderr
    again = surgeon("scan", stories, "--store", "scan.db", *OPTIONS)
    assert ": 0 passes of " in again.stderr
    told = surgeon("report", "scan.db", "--held-out", "0.9").stdout
    assert "4 of 15 paths scored on all 32 search items of a race, and 32 held-out items" in told
    assert "7 paths: left the race after 4 of 32 search items" in told
    assert "nan" not in told and "By chance alone" not in told
    (model,) = json.loads(surgeon("report", "scan.db", "--json").stdout)["models"]
    (probe,) = model["probes"]
    assert probe["is_race"] and {path["p_value"] for path in probe["paths"]} == {None}
    assert sum(bool(path["left_race"]) for path in probe["paths"]) == 11
    for name in ("page.html", "map.svg"):
        made = surgeon("report", "scan.db", "--html" if "html" in name else "--png", name)
        assert made.returncode == 0, made.stderr
        assert "nan" not in (tmp_path / name).read_text().lower().replace("finance", "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--arithmetic", "24", "--held-out", "0.5"], "--held-out requires --race"),
        (["--arithmetic", "24", "--race-seed", "1"], "--race-seed requires --race"),
        (["--arithmetic", "8", "--race"], "a race over 8 items"),
        (["--arithmetic", "24", "--race", "--held-out", "0"], "24 that choose the best path and 0"),
        (["--arithmetic", "24", "--race", "--held-out", "1"], "0 that choose the best path and 24"),
    ],
)
def test_what_cannot_be_raced(
    surgeon: Run, stories: Path, options: Sequence[str], says: str
) -> None:
    done = surgeon("scan", stories, "--store", "scan.db", *options)
    assert done.returncode == 2 and says in " ".join(done.stderr.split()), done.stderr


def start(stories: Path, store: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ggufsurgeon", "scan", str(stories), "--store", str(store)]
    return subprocess.Popen([*command, *OPTIONS], cwd=ROOT, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_race_that_is_killed_ends_as_one_that_was_not(
    stories: Path, tmp_path: Path, stores: tuple[Path, Path]
) -> None:
    """Two processes race, and one or both of them are killed, until it is over."""
    generator = random.Random(5)
    for _ in range(6):
        processes = [start(stories, tmp_path / "scan.db") for _ in range(2)]
        time.sleep(1 + 2 * generator.random())
        processes[0].kill()
        if generator.random() < 0.5:
            processes[1].kill()
        for process in processes:
            process.communicate(timeout=120)
    assert start(stories, tmp_path / "scan.db").wait(120) == 0
    assert rows_in(tmp_path / "scan.db") == rows_in(stores[1])
    with closing(sqlite3.connect(tmp_path / "scan.db")) as database:
        assert database.execute("SELECT count(*) FROM lease").fetchone() == (0,)
