"""The parts of a scan, run one after the other, or by many workers at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ggufsurgeon.clusters.executor_runner import ExecutorRunner
from ggufsurgeon.scanning.job import Scored, Work
from ggufsurgeon.scanning.stored_groups import N_LEASED
from ggufsurgeon.store.machine import Machine, this_machine
from ggufsurgeon.workers.runner import Runner

N_PATHS_OF_MANY = 16
"""Layer paths of a part where many workers share a scan: what a death loses is small, and no worker
is busy for long when the others have ended."""
POLL_S = 0.5
"""Seconds between two looks at what other processes do."""


def n_paths_of_part(runner: Runner) -> int:
    """The most layer paths of a part."""
    return N_PATHS_OF_MANY if isinstance(runner, ExecutorRunner) else N_LEASED


def machines_of(runner: Runner) -> Sequence[Machine]:
    """The kinds of machines that a runner can run on, the most frequent first."""
    return runner.machines() if isinstance(runner, ExecutorRunner) else [this_machine(runner)]


def stay_with(runner: Runner, machine: Machine) -> None:
    """Let a runner run on this kind of machine alone."""
    if isinstance(runner, ExecutorRunner):
        runner.only(machine)


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
