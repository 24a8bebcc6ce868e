"""The parts of a scan, run one after the other, or by many workers at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ggufsurgeon.clusters.executor_runner import ExecutorRunner
from ggufsurgeon.scanning.jobs.job import Scored, Work
from ggufsurgeon.scanning.jobs.stored_groups import N_LEASED
from ggufsurgeon.store.machine import Machine, this_machine
from ggufsurgeon.store.scan_scores import ProbeKey
from ggufsurgeon.store.store import Store
from ggufsurgeon.workers.runner import Runner

MOST_OF_MANY, LEAST_OF_MANY = 16, 4
"""Layer paths of a part where many workers share a scan: with few, what a death loses is small, and
no worker is busy for long when the others have ended; but each part costs a pass of its own."""
PARTS_OF_EACH = 4
"""Parts that each worker gets at least, where that leaves enough paths for a part."""
POLL_S = 0.5
"""Seconds between two looks at what other processes do."""


def part_size(runner: Runner) -> Callable[[int], int]:
    """The most layer paths of a part, by the passes that are to be run in all."""

    def of_many(n_passes: int, runner: ExecutorRunner) -> int:
        share = math.ceil(n_passes / (PARTS_OF_EACH * max(1, runner.n_workers)))
        return min(max(share, LEAST_OF_MANY), MOST_OF_MANY)

    if isinstance(runner, ExecutorRunner):
        return lambda n_passes: of_many(n_passes, runner)
    return lambda _n_passes: N_LEASED


def settled_key(store: Store, runner: Runner, keys: Callable[[Machine], ProbeKey]) -> ProbeKey:
    """The key of a probe on the kind of machine that is to run it; the runner stays with that.

    Scores of two kinds do not compare. Where a runner has several, it is the kind that the store
    has most scores of; for a new probe, the most frequent one.
    """
    if not isinstance(runner, ExecutorRunner):
        return keys(this_machine(runner))

    def n_scores(key: ProbeKey) -> int:
        known = store.known_probe_scores(key)
        return 0 if known is None else known.n_scores()

    chosen = max(map(keys, runner.machines()), key=n_scores)
    runner.only(chosen.machine)
    return chosen


def run_parts(
    runner: Runner,
    job: Callable[..., None],
    shared: Sequence[Any],
    parts: Iterator[Work | None],
    take: Callable[[Sequence[Scored]], object],
    end: Callable[[Sequence[Work]], object],
) -> None:
    """Run `job(session, *shared, [part], reporter)` for each part.

    `parts` gives None while other processes have all that is left. `take` is called with what jobs
    have emitted, `end` with the parts that have ended.
    """
    if isinstance(runner, ExecutorRunner):
        runner.run_each(job, shared, parts, take, end)
        return
    for part in parts:
        if part is None:
            time.sleep(POLL_S)
        else:
            runner.run(job, *shared, [part], on_result=lambda scored: take([scored]))
            end([part])
