"""The same documents through ggufsurgeon's leaderboard, without a store."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.high_level.chat_renderer import chat_renderer
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.leaderboard.answering.jobs import answer_requests
from ggufsurgeon.leaderboard.answering.work import Answered, AnswerSettings, PathWork
from ggufsurgeon.leaderboard.documents import TaskScore
from ggufsurgeon.leaderboard.harness.benchmarks import BENCHMARKS, Benchmark
from ggufsurgeon.leaderboard.harness.collecting import collect
from ggufsurgeon.leaderboard.harness.loading import load_tasks
from ggufsurgeon.leaderboard.harness.scoring import score
from ggufsurgeon.leaderboard.prompting import PLAIN, Prompting
from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationRequest,
)
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.worker import Worker


class OwnRun(NamedTuple):
    """What ggufsurgeon makes of the documents."""

    answers: dict[EvaluationRequest, EvaluationAnswer]
    scores: tuple[TaskScore, ...]


def evaluate_with_ggufsurgeon(
    gguf: Path,
    data: Path,
    names: Set[str],
    limit: int,
    *,
    chat: bool,
    settings: AnswerSettings,
    max_tokens: int | None,
    n_threads: int,
) -> OwnRun:
    """Answers and scores of the model as it is, in the harness' tasks of these names.

    Texts have `max_tokens` tokens at most.
    """
    prompting = Prompting(chat_renderer(open_gguf(gguf))) if chat else PLAIN
    tasks = load_tasks([one.name for one in benchmarks_with(names)], data, limit)
    tasks = replace(tasks, tasks=tuple(one for one in tasks.tasks if one.name in names))
    requests = collect(tasks, prompting)
    asked = tuple(_shortened(request, max_tokens) for request in requests)
    path = LayerPath(f"0..{gs.open(gguf).n_blocks - 1}")
    answers: dict[EvaluationRequest, EvaluationAnswer] = {}

    def take(found: tuple[Answered, ...]) -> None:
        answers.update((requests[number], answer) for _path, number, answer in found)

    work = (PathWork(path, tuple(range(len(requests)))),)
    devices = Devices(n_threads=n_threads)
    with Worker() as runner:
        models = ModelPaths(gguf)
        runner.run(answer_requests, models, devices, asked, work, settings, on_result=take)
    return OwnRun(answers, score(tasks, answers, prompting))


def benchmarks_with(names: Set[str]) -> list[Benchmark]:
    """The benchmarks that have tasks of these names."""
    return [one for one in BENCHMARKS if names & {task.task for task in one.tasks}]


def _shortened(request: EvaluationRequest, max_tokens: int | None) -> EvaluationRequest:
    if max_tokens is None or not isinstance(request, GenerationRequest):
        return request
    return request._replace(max_tokens=min(max_tokens, request.max_tokens))
