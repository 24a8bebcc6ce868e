"""A task from its first chunk to the last: run as a job, kept in a store, reported as it goes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.scoring.checkpoint import opened_checkpoint
from ggufsurgeon.scoring.group import ChunkResult
from ggufsurgeon.scoring.job import score_job
from ggufsurgeon.scoring.results import PartialResult, PathResult
from ggufsurgeon.scoring.task import ScoringTask
from ggufsurgeon.workers.runner import Runner
from ggufsurgeon.workers.worker import Worker


def score_paths(
    task: ScoringTask,
    runner: Runner | None = None,
    store: Path | None = None,
    progress: Progress = NO_PROGRESS,
    on_result: Callable[[PartialResult], object] | None = None,
) -> tuple[PathResult, ...]:
    """Score all layer paths of a task in one stream; the results in the order of its paths.

    The job runs in `runner`, without one in a worker process of its own. With a store, paths that
    it knows are not run again, and each goes on behind its last chunk. `on_result` is called with
    what is known each time that a path has scored a group of chunks. Raises as `score_job` and
    `opened_store`.
    """
    with ExitStack() as stack:
        runner = runner or stack.enter_context(Worker())
        checkpoint = stack.enter_context(opened_checkpoint(store, task, runner))
        partial = PartialResult(task, checkpoint.scores)

        def take(result: ChunkResult) -> None:
            checkpoint.add(result.path, result.scores)
            partial.add(result)
            progress.advance(len(result.scores.losses), partial.note)
            if on_result is not None:
                on_result(partial)

        used = runner.run(score_job, task, checkpoint.n_done, progress=progress, on_result=take)
        return partial.results(used)
