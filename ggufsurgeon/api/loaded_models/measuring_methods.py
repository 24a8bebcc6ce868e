"""Measurements of a loaded model along layer paths."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.loaded_models.model_over_runner import ModelOverRunner
from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.multiple_choice.task_results import (
        CompletedTasks,
        MultipleChoiceResult,
        TaskResult,
    )
    from ggufsurgeon.multiple_choice.tasks import Task
    from ggufsurgeon.scoring.chunks import TextSettings
    from ggufsurgeon.scoring.results import PartialResult, PathResult
    from ggufsurgeon.scoring.task import Reference, ScoringTask
    from ggufsurgeon.scoring.text_sources.texts import Text
    from ggufsurgeon.statistics.divergence import Comparison
    from ggufsurgeon.statistics.perplexity import Perplexity


class MeasuringMethods(ModelOverRunner):
    """The methods of a loaded model that score texts and evaluate tasks."""

    def score(
        self,
        text: PathLike | bytes | Text,
        paths: Sequence[AnyPath | None] = (None,),
        *,
        reference: Reference | None = None,
        settings: TextSettings | None = None,
        store: PathLike | None = None,
        save_logits: PathLike | None = None,
        replace: bool = False,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[PartialResult], object] | None = None,
    ) -> tuple[PathResult, ...]:
        """Score layer paths on a text in one stream; None is the unmodified model.

        `text` is a file, a folder of .txt and .md files, `-` for standard input, or the bytes
        themselves, or a `Text` that has been read. `reference` is what each path is compared with:
        a `PathReference`, `ModelReference` or `LogitsFileReference`. The file `store` keeps the
        scores of each chunk; an interrupted call resumes from it. `save_logits` writes a logits
        file of a single path, over another only with `replace`. `on_result` is called with the
        results so far, after each group of chunks. Of two models both are in memory at once only if
        they fit.

        Raises UsageError for a text, a path or a reference that does not fit, RefusedError for a
        path that cannot be routed, MalformedFileError for a file that llama.cpp cannot run.
        """
        from ggufsurgeon.scoring.chunks import TextSettings
        from ggufsurgeon.scoring.score_paths import score_paths
        from ggufsurgeon.scoring.task import ScoringTask, resolved_paths, resolved_reference
        from ggufsurgeon.scoring.text_sources.texts import content_of

        if not paths:
            return ()
        content, files_read = content_of(text)
        layer_paths = resolved_paths(self._models, paths)
        distinct = tuple(dict.fromkeys(layer_paths))
        task = ScoringTask(
            self.path,
            distinct,
            content,
            settings or TextSettings(),
            self._devices,
            resolved_reference(self._models, reference),
            others=self._models.others,
            outside=self._outside,
        )
        run = partial(score_paths, runner=self._runner, progress=progress, on_result=on_result)
        if save_logits is None:
            results = run(task, store=None if store is None else Path(store))
        elif store is not None:
            raise UsageError(
                "a run that saves logits cannot go on from a store: leave one of them out"
            )
        elif len(distinct) != 1:
            raise UsageError(f"logits are saved for one layer path, and {len(distinct)} are given")
        else:
            results = _saving_logits(run, task, Path(save_logits), files_read, replace)
        by_path = dict(zip(distinct, results, strict=True))
        return tuple(by_path[path] for path in layer_paths)

    def perplexity(
        self,
        text: PathLike | bytes,
        *,
        settings: TextSettings | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Perplexity:
        """The perplexity of the unmodified model on a text, by llama-perplexity's algorithm.

        `text` is a file, a folder of .txt and .md files, or the bytes themselves. Raises as
        `score`.

        >>> import ggufsurgeon as gs
        >>> with gs.load("fixtures/stories260K.gguf") as model:
        ...     found = model.perplexity(b"Once upon a time. " * 600)
        >>> found.n_chunks, found.error < found.value
        (5, True)
        """
        return self.score(text, settings=settings, progress=progress)[0].perplexity

    def compare(
        self,
        text: PathLike | bytes,
        paths: Sequence[AnyPath],
        *,
        settings: TextSettings | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> tuple[Comparison, ...]:
        """The model along each of `paths` beside the unmodified model, over the same tokens.

        The unmodified model runs once and gives the states for all windows; each path then costs a
        pass. A comparison has paired differences with their standard errors, in nats a token, and
        the layer path. Raises as `score`, and UsageError for fewer than 100 scored tokens.

        >>> import ggufsurgeon as gs
        >>> settings = gs.TextSettings(n_ctx=64, n_chunks=4)
        >>> text = b"Once upon a time there was a little dog. " * 60
        >>> with gs.load("fixtures/stories260K.gguf") as model:
        ...     rows = model.compare(text, [gs.repeat("1:3"), gs.drop("3:4")], settings=settings)
        >>> [(row.layer_path, row.n_scored) for row in rows]
        [('0..2,1..4', 124), ('0..2,4', 124)]
        """
        from ggufsurgeon.scoring.task import PathReference

        results = self.score(
            text, paths, reference=PathReference(), settings=settings, progress=progress
        )
        return tuple(one.comparison for one in results if one.comparison is not None)

    def choose(
        self,
        tasks: PathLike | Sequence[Task],
        paths: Sequence[AnyPath | None] = (),
        *,
        task_format: str = "jsonl",
        limit: int | None = None,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[CompletedTasks], object] | None = None,
    ) -> tuple[MultipleChoiceResult, ...]:
        """Evaluate multiple-choice tasks by log-likelihood along each of `paths`.

        A path of None is the unmodified model, routed as the others are. Without any path the
        unmodified model runs whole, in the batches of llama-perplexity, and text that choices share
        runs once. `tasks` is a file, or tasks that have been read; `task_format` is the format of
        the file: jsonl, hellaswag, winogrande or multiple-choice. Of more than `limit` tasks, those
        that llama-perplexity draws are evaluated. `on_result` is called after each task;
        `results()` of its argument are the means so far.

        Raises UsageError for a file of tasks that cannot be read, a task or a path that does not
        fit the model, or a model that does not continue texts, RefusedError for a path that cannot
        be routed, MalformedFileError for a model whose logits are not finite.
        """
        from ggufsurgeon.llama_perplexity.task_sample import draw
        from ggufsurgeon.multiple_choice.evaluation import evaluate_tasks
        from ggufsurgeon.multiple_choice.task_files import read_tasks
        from ggufsurgeon.multiple_choice.task_results import CompletedTasks
        from ggufsurgeon.multiple_choice.tasks import TaskFormat

        kind = TaskFormat(task_format)
        as_hellaswag = kind is TaskFormat.HELLASWAG
        found = read_tasks(Path(tasks), kind) if isinstance(tasks, (str, os.PathLike)) else tasks
        drawn = draw(found, limit, as_hellaswag=as_hellaswag)
        layer_paths = [self._over(path) for path in paths]
        completed = CompletedTasks(layer_paths, len(drawn))

        def take(results: list[TaskResult]) -> None:
            completed.add(results)
            if on_result is not None:
                on_result(completed)

        arguments = (self._models, layer_paths, drawn, kind, self._devices)
        return self._runner.run(evaluate_tasks, *arguments, progress=progress, on_result=take)


def _saving_logits(
    run: Callable[[ScoringTask], tuple[PathResult, ...]],
    task: ScoringTask,
    destination: Path,
    files_read: Sequence[Path],
    replace: bool,
) -> tuple[PathResult, ...]:
    """Run a task that also writes a logits file, which is absent, as it was or complete."""
    from ggufsurgeon.writing.new_file import new_file

    read = [*files_read, *task.files]
    with new_file(destination, read, replace=replace) as temporary:
        return run(dataclasses.replace(task, save_logits=temporary))
