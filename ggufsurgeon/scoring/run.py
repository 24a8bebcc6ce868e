"""A measurement from its first chunk to the last: in child processes, kept in a store, heard of."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ggufsurgeon.engine.runner import Runner
from ggufsurgeon.engine.worker import Worker
from ggufsurgeon.progress import Progress
from ggufsurgeon.scoring.beforehand import Beforehand, look_at_both
from ggufsurgeon.scoring.checkpoint import Checkpoint, opened_checkpoint
from ggufsurgeon.scoring.jobs import News, Outcome, measure_in_step, measure_one
from ggufsurgeon.scoring.measured import Known, Measured
from ggufsurgeon.scoring.task import BaseLogits, Task

ROUND_N_BYTES = 8 << 30
"""Of a base's logits on disk at a time, where both models do not fit in memory together."""


def measure(
    task: Task,
    store: Path | None,
    progress: Progress,
    hear: Callable[[Known], object] | None,
    runner: Runner | None = None,
) -> Measured:
    """Measure, going on with the store if there is one.

    `runner` runs one model; without it, and for two models, workers of their own do. `hear` is
    called with what is known, each time that more is.
    """
    with opened_checkpoint(store, task) as opened:
        run = Run(task, opened, progress, hear, runner)
        outcome = run.in_the_best_way()
        return run.known.measured(outcome)


class Run:
    """Runs child processes, and takes in what they say."""

    def __init__(
        self,
        task: Task,
        checkpoint: Checkpoint,
        progress: Progress,
        hear: Callable[[Known], object] | None,
        runner: Runner | None = None,
    ) -> None:
        self._runner = runner
        self.known = Known(task, checkpoint.findings)
        self._task = replace(task, first=self.known.n_chunks)
        self._checkpoint = checkpoint
        self._progress = progress
        self._hear = hear

    def in_the_best_way(self) -> Outcome:
        """One model by itself; two in step if they fit in memory together, else in rounds."""
        task = self._task
        if task.base is None or task.base_is_itself:
            return self._child(measure_one, task, self._keep)
        with Worker() as worker:
            beforehand = worker.run(look_at_both, task)
        if beforehand.fit_together:
            return self._child(measure_in_step, task, self._keep)
        return self.in_rounds(beforehand)

    def in_rounds(self, beforehand: Beforehand, n_bytes: int = ROUND_N_BYTES) -> Outcome:
        """Some chunks by the base, whose logits wait in a file, then the same by the model."""
        task, n_chunks = self._task, beforehand.n_chunks
        assert task.base is not None
        step = chunks_a_round(beforehand, n_bytes)
        outcome = Outcome(n_chunks, ())
        with tempfile.TemporaryDirectory(prefix="ggufsurgeon-") as folder:
            logits = Path(folder) / "logits"
            for first in range(task.first, n_chunks, step):
                some = replace(task, base=None, first=first, last=min(first + step, n_chunks))
                keeping = replace(some, side=task.base, save_to=logits, save_exact=True)
                of_base = self._child(measure_one, keeping, self._spend)
                base_logits = BaseLogits(logits, str(task.base.model), first)
                against = replace(some, base_logits=base_logits)
                outcome = self._child(measure_one, against, self._keep)
                outcome = outcome._replace(base_devices=of_base.devices)
        return outcome

    def _child(
        self, job: Callable[..., Outcome], task: Task, hear: Callable[[News], None]
    ) -> Outcome:
        is_one = task.base is None or task.base_is_itself
        if self._runner is not None and is_one:
            return self._runner.run(job, task, progress=self._progress, on_result=hear)
        with Worker() as worker:
            return worker.run(job, task, progress=self._progress, on_result=hear)

    def _keep(self, news: News) -> None:
        self._checkpoint.add(news.findings)
        self.known.add(news)
        self._progress.advance(len(news.findings.losses), self.known.note)
        if self._hear is not None:
            self._hear(self.known)

    def _spend(self, news: News) -> None:
        self.known.spend(news)
        self._progress.advance(len(news.findings.losses))


def chunks_a_round(beforehand: Beforehand, n_bytes: int) -> int:
    """As many as make `n_bytes` of logits, in whole batches: their company decides the rounding."""
    n_batches = n_bytes // (beforehand.chunk_n_bytes * beforehand.n_seq)
    return max(1, n_batches) * beforehand.n_seq
