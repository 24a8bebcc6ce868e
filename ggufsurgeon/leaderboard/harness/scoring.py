"""Answers scored by the harness itself, as if the model were run by it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.documents import TaskScore
from ggufsurgeon.leaderboard.harness.loading import HarnessTask, LoadedTasks
from ggufsurgeon.leaderboard.harness.samples import aggregates, document_score
from ggufsurgeon.leaderboard.harness.surroundings import (
    quiet,
    seeded,
    seeded_language_detection,
    signals_heeded,
)
from ggufsurgeon.leaderboard.prompting import PLAIN, Prompting
from ggufsurgeon.leaderboard.requests import EvaluationAnswer, EvaluationRequest
from ggufsurgeon.progress import NO_PROGRESS, Progress


def score(
    tasks: LoadedTasks,
    answers: Mapping[EvaluationRequest, EvaluationAnswer],
    prompting: Prompting = PLAIN,
    progress: Progress = NO_PROGRESS,
) -> tuple[TaskScore, ...]:
    """Score the answers of one layer path, task by task in the order of `tasks`.

    Random numbers are seeded anew for each task, so that its score does not depend on the others. A
    document with an answer whose logits are not finite numbers is scored as wrong, and counted.
    MATH's scorer limits its time by the clock: on an overloaded machine it may give up where it
    would not otherwise.

    Raises MalformedFileError for a document that the harness cannot score, UsageError for a request
    without an answer, and in another thread than the main one, since MATH's scorer uses signals.
    """
    check_main_thread()
    scores = []
    progress.begin("scoring", sum(task.n_documents for task in tasks.tasks), "documents")
    for task in tasks.tasks:
        with task.clear_errors():
            scores.append(_task_score(task, answers, prompting))
        progress.advance(task.n_documents)
    return tuple(scores)


def check_main_thread() -> None:
    """Raise UsageError in another thread than the main one."""
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("answers are scored in the main thread alone: the harness uses signals")


def _task_score(
    task: HarnessTask,
    answers: Mapping[EvaluationRequest, EvaluationAnswer],
    prompting: Prompting,
) -> TaskScore:
    from ggufsurgeon.leaderboard.harness.replaying import ReplayingModel

    model = ReplayingModel(answers, prompting)
    samples = _samples(task, model, prompting)
    documents = tuple(document_score(task, sample, model.not_finite) for sample in samples)
    return TaskScore(
        task.name,
        task.version,
        aggregates(task, documents, samples),
        documents,
        len(model.not_finite),
    )


def _samples(task: HarnessTask, model: Any, prompting: Prompting) -> list[dict[str, Any]]:
    from lm_eval.evaluator import evaluate

    with ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(signals_heeded())
        stack.enter_context(seeded())
        if task.benchmark == "ifeval":
            stack.enter_context(seeded_language_detection())
        results = evaluate(
            model,
            {"tasks": {task.name: task.task}},
            limit=task.limit,
            bootstrap_iters=0,
            apply_chat_template=prompting.chat is not None,
            fewshot_as_multiturn=True,
        )
    samples: list[dict[str, Any]] = results["samples"][task.name]
    return samples
