"""Evaluation of multiple-choice tasks along layer paths: a job for a runner."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from ggufsurgeon.engine.context import Results
from ggufsurgeon.engine.model import Devices, Model
from ggufsurgeon.errors import MalformedFileError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.multiple_choice.likelihoods import log_likelihood, normalised
from ggufsurgeon.multiple_choice.packing import PackedTask, pack
from ggufsurgeon.multiple_choice.task_logits import logits_along
from ggufsurgeon.multiple_choice.task_results import (
    CompletedTasks,
    MultipleChoiceResult,
    TaskResult,
)
from ggufsurgeon.multiple_choice.task_tokens import check_scores_choices, tokenize_task
from ggufsurgeon.multiple_choice.tasks import Task, TaskFormat
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.session import Reporter, Session


def evaluate_tasks(
    session: Session,
    models: ModelPaths,
    layer_paths: Sequence[LayerPath],
    tasks: Sequence[Task],
    task_format: TaskFormat,
    options: Devices,
    reporter: Reporter,
) -> tuple[MultipleChoiceResult, ...]:
    """The results along each layer path, routed; without any, those of the unmodified model.

    The results of each task are emitted when it is done, a list with one along each path. Raises
    UsageError for a model that does not continue texts or a task that does not fit it, RefusedError
    for a path that cannot be routed, MalformedFileError for logits that are not finite.
    """
    sources = models.loaded(session, options)
    model = sources.tokenizer
    check_scores_choices(model)
    packed = [_packed(model, task, task_format) for task in tasks]
    reporter.begin(models.first.name, len(tasks), "tasks")
    completed = CompletedTasks(layer_paths, len(tasks))
    with closing(logits_along(layer_paths, sources, packed)) as logits:
        for task, rows, found in zip(tasks, packed, logits, strict=True):
            results = [_score_task(models.first, task, rows, one, task_format) for one in found]
            completed.add(results)
            reporter.emit(results)
            reporter.advance(1)
    return tuple(
        replace(result, devices=sources.devices_in_turn()) for result in completed.results()
    )


def _packed(model: Model, task: Task, task_format: TaskFormat) -> PackedTask:
    """The tokens of a task. Raises UsageError when they exceed the context of the model."""
    tokens = tokenize_task(model, task, task_format)
    longest = max(map(len, tokens.sequences))
    if longest > model.n_ctx_train:
        raise UsageError(
            f"task {task.id} has {longest} tokens, and {model.path} was trained on contexts of "
            f"{model.n_ctx_train}",
            hint="Shorten the task, or remove it from the file.",
        )
    n_shared = 0 if model.has_state else tokens.n_common
    return pack(tokens, n_shared, as_winogrande=task_format is TaskFormat.WINOGRANDE)


def _score_task(
    path: Path, task: Task, packed: PackedTask, logits: Results, task_format: TaskFormat
) -> TaskResult:
    """The result of a task from its logits [n_wanted, n_vocab].

    Raises MalformedFileError, with the path of the model, for logits that are not finite.
    """
    sums = [log_likelihood(logits[rows], targets, task_format) for rows, targets in packed.scored]
    if not np.isfinite(sums).all():
        problem = "its logits are not finite numbers: weights or metadata are broken"
        raise MalformedFileError(str(path), problem)
    choices = zip(sums, task.choices, packed.scored, strict=True)
    by_length = [
        normalised(value, choice, len(scored.targets), task_format)
        for value, choice, scored in choices
    ]
    others = sums[: task.answer] + sums[task.answer + 1 :]
    return TaskResult(
        id=task.id,
        answer=task.answer,
        log_likelihoods=tuple(sums),
        normalised=tuple(by_length),
        chosen=int(np.argmax(sums)),
        chosen_normalised=int(np.argmax(by_length)),
        margin=sums[task.answer] - max(others),
    )
