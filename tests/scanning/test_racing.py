"""The work of a race over a store that other processes fill too. No model is run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread

import pytest

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.jobs.groups import make_groups
from ggufsurgeon.scanning.jobs.job import ItemTable, Work
from ggufsurgeon.scanning.jobs.stored_groups import N_LEASED, StoredGroups
from ggufsurgeon.scanning.racing.race import Race
from ggufsurgeon.scanning.racing.work import RacedScan
from ggufsurgeon.store.lease_owner import this_owner
from ggufsurgeon.store.scan_scores import ProbeKey, ProbeScores
from ggufsurgeon.store.store import opened_store
from tests.scanning.racing import Scores, overlapping, run_race
from tests.scanning.test_groups import made
from tests.store.adding import KEY

N_BLOCKS, N_ITEMS = 6, 40
PROBE = ProbeKey(KEY.model, KEY.machine, "text-race", "sha", "nats", Race().settings())
NO_MORE = Work(-1, ())
EVERY = overlapping(N_BLOCKS, N_ITEMS, 0.5, 2)
BASE = LayerPath.identity(N_BLOCKS)
PATHS = [LayerPath(path) for path in EVERY if path != str(BASE)]


def item_table(n_items: int = N_ITEMS) -> ItemTable:
    """Items of which three fit into a group."""
    begins = [items.start for items in Race().course(n_items).rounds]
    groups = make_groups(made([[600]] * n_items), begins, may_share=False)
    ranges = tuple(range(one.first, one.first + one.n_items) for one in groups)
    return ItemTable(("",) * n_items, (600,) * n_items, "sha", ranges)


def raced_scan(scores: ProbeScores, n_items: int = N_ITEMS) -> RacedScan:
    items = item_table(n_items)
    return RacedScan(StoredGroups(scores, items.groups), items, PATHS, BASE, Race())


@contextmanager
def opened(store: Path) -> Iterator[ProbeScores]:
    with opened_store(store) as one:
        yield one.probe_scores(PROBE)


def run(store: Path, patience_s: float = 300, n_groups: int = 10_000) -> None:
    """Do the work of a race, or of its first groups."""
    with opened(store) as scores:
        raced = raced_scan(scores)
        with closing(raced.work(patience_s)) as work:
            do_work(scores, raced, work, n_groups)


def do_work(
    scores: ProbeScores, raced: RacedScan, work: Iterator[Work | None], n_groups: int
) -> None:
    groups = item_table().groups
    while n_groups and (one := next(work, NO_MORE)) != NO_MORE:
        if one is None:
            time.sleep(0.1)
        else:
            n_groups -= 1
            items = groups[one.group]
            for path in one.paths:
                scores.add(str(path), items.start, [EVERY[str(path)][item] for item in items])
            raced.end([one])


def scores_of(store: Path) -> Scores:
    with opened(store) as scores:
        return scores.scores()


WHOLE = run_race(Race().course(N_ITEMS), N_BLOCKS, EVERY)


def test_groups_are_of_one_round() -> None:
    course, groups = Race().course(N_ITEMS), item_table().groups
    assert [n for group in groups for n in group] == list(range(N_ITEMS))
    for group in groups:
        assert sum(group.start in items for items in course.rounds) == 1
        (items,) = [items for items in course.rounds if group.start in items]
        assert group.stop <= items.stop
    assert max(map(len, groups)) == 3


def test_a_store_gets_the_scores_of_the_race_and_tells_their_number(tmp_path: Path) -> None:
    store, n_known = tmp_path / "scan.db", []
    for n_groups in (0, 1, 4, 100):
        run(store, n_groups=n_groups)
        with opened(store) as scores:
            plan = raced_scan(scores)
            n_known.append(plan.n_passes() - plan.n_missing())
            n_all = plan.n_passes()
    assert n_known[0] == 0 and n_known[1] == min(N_LEASED, len(PATHS) + 1) and n_known[-1] == n_all
    assert n_known == sorted(n_known)
    assert scores_of(store) == WHOLE.scores
    assert plan.n_item_passes() == WHOLE.n_item_passes


def lease(store: Path, owner: str, round_number: int) -> None:
    """Let somebody hold the first group of a round."""
    with opened(store) as scores:
        first_item = Race().course(N_ITEMS).rounds[round_number].start
        assert scores.claim(first_item, str(BASE), owner)


def finishes(store: Path, patience_s: float) -> float:
    """Seconds that a race takes in a thread, which a fault could make wait for ever."""
    start = time.monotonic()
    thread = Thread(target=run, args=(store, patience_s), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "the race waits"
    return time.monotonic() - start


@pytest.mark.parametrize("is_asked_about", [True, False])
def test_what_a_process_leased_is_taken_over_when_it_dies(
    tmp_path: Path, is_asked_about: bool
) -> None:
    """Also one that its parent never asks about, as in containers without an init process."""
    store = tmp_path / "scan.db"
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"])
    host, _, _ = json.loads(this_owner())
    stat = Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()[19]
    lease(store, json.dumps([host, sleeper.pid, stat]), 1)
    waits = Thread(target=sleeper.wait) if is_asked_about else None
    if waits is not None:
        waits.start()
    seconds = finishes(store, patience_s=300)
    assert 1 < seconds < 30
    assert scores_of(store) == WHOLE.scores
    sleeper.wait()


def test_a_process_elsewhere_is_not_waited_for_forever(tmp_path: Path) -> None:
    store = tmp_path / "scan.db"
    lease(store, json.dumps(["another host", 1, "1"]), 0)
    lease(store, json.dumps(["another host", 1, "1"]), 2)
    assert finishes(store, patience_s=1.5) > 3
    assert scores_of(store) == WHOLE.scores


def test_two_processes_race_together(tmp_path: Path) -> None:
    store = tmp_path / "scan.db"
    code = f"from tests.scanning.test_racing import *; run(Path({str(store)!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert scores_of(store) == WHOLE.scores


@pytest.mark.parametrize("n_items", [2, 8])
def test_too_few_items_are_no_race(n_items: int) -> None:
    with pytest.raises(UsageError, match=f"a race over {n_items} items.*too few"):
        Race().check(n_items)
    Race().check(10)
