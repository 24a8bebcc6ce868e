"""Which of several answers a model finds likeliest: accuracy and margin over a file of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ggufsurgeon.engine.context import Results
from ggufsurgeon.engine.device_use import DeviceUse
from ggufsurgeon.engine.model import Devices, Model
from ggufsurgeon.errors import MalformedFileError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.multiple_choice.answering import logits_along
from ggufsurgeon.multiple_choice.likelihoods import log_likelihood
from ggufsurgeon.multiple_choice.packing import PackedTask, pack
from ggufsurgeon.multiple_choice.tasks import Task, TaskFormat
from ggufsurgeon.statistics.estimate import Estimate, mean_of
from ggufsurgeon.workers.session import Reporter, Session


@dataclass(frozen=True)
class Answer:
    """What a model makes of one task; the tuples have a number for each choice."""

    id: str
    answer: int
    log_likelihoods: tuple[float, ...]
    """Of all scored tokens together, in nats."""
    normalised: tuple[float, ...]
    """The same per character of the choice, as lm-eval's acc_norm has it, in the JSONL format,
    and per scored token, as llama-perplexity has it, in its own formats."""
    chosen: int
    chosen_normalised: int
    margin: float
    """Log-likelihood of the right choice, less that of the best other."""


@dataclass(frozen=True)
class Choices:
    """The answers of a model to multiple-choice tasks, and their means.

    >>> import ggufsurgeon as gs
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     (found,) = model.choose("fixtures/tasks/choices.jsonl")
    >>> found.n_tasks, found.layer_path, round(found.accuracy.value, 3)
    (14, None, 0.714)
    """

    layer_path: str | None
    """The path that was routed; None for the model as it is."""
    n_tasks: int
    accuracy: Estimate
    accuracy_normalised: Estimate
    margin: Estimate
    answers: tuple[Answer, ...]
    n_tasks_in_all: int
    """As many as n_tasks, or more where a run was broken off."""
    devices: tuple[DeviceUse, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether the run was broken off."""
        return self.n_tasks < self.n_tasks_in_all


class Answered:
    """What is known so far along each layer path; without any, of the model as it is."""

    def __init__(self, layer_paths: Sequence[LayerPath], n_tasks_in_all: int) -> None:
        self._names: list[str | None] = [str(path) for path in layer_paths] or [None]
        self._answers: list[list[Answer]] = [[] for _ in self._names]
        self._n_tasks_in_all = n_tasks_in_all

    def add(self, found: Sequence[Answer]) -> None:
        """The answers to the next task, one along each path."""
        for answers, answer in zip(self._answers, found, strict=True):
            answers.append(answer)

    def choices(self) -> tuple[Choices, ...]:
        """The means over at least one task."""
        named = zip(self._names, self._answers, strict=True)
        return tuple(_summary(name, answers, self._n_tasks_in_all) for name, answers in named)


@dataclass(frozen=True)
class Change:
    """Means of the differences task by task, whose errors are smaller than those of the means."""

    accuracy: Estimate
    accuracy_normalised: Estimate
    margin: Estimate


def change(mine: Choices, base: Choices) -> Change:
    """Paired differences of answers to the same tasks: `mine` less `base`.

    Raises ValueError when the numbers of tasks differ.

    >>> import ggufsurgeon as gs
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     paths = [gs.LayerPath("0..4"), gs.repeat("1:3")]
    ...     base, mine = model.choose("fixtures/tasks/choices.jsonl", paths)
    >>> round(gs.change(mine, base).accuracy.value, 3)
    -0.143
    """
    values = [(_values(a), _values(b)) for a, b in zip(mine.answers, base.answers, strict=True)]
    differences = zip(*(np.subtract(a, b) for a, b in values), strict=True)
    return Change(*map(mean_of, differences))


def measure_choices(
    session: Session,
    path: Path,
    layer_paths: Sequence[LayerPath],
    tasks: Sequence[Task],
    task_format: TaskFormat,
    options: Devices,
    reporter: Reporter,
) -> tuple[Choices, ...]:
    """The answers along each layer path, routed; without any, those of the model as it is.

    Those to each task are said as they come, a list with one along each path.
    Raises UsageError when the model is no language model or a task does not fit it,
    RefusedError when a path cannot be routed.
    """
    model = session.model(path, options)
    packed = _pack(model, tasks, task_format)
    reporter.begin(path.name, len(tasks), "tasks")
    answered = Answered(layer_paths, len(tasks))
    with closing(logits_along(layer_paths, model, packed)) as logits:
        for task, rows, found in zip(tasks, packed, logits, strict=True):
            answers = [_answer(model, task, rows, one, task_format) for one in found]
            answered.add(answers)
            reporter.emit(answers)
            reporter.advance(1)
    return tuple(replace(result, devices=model.devices()) for result in answered.choices())


def _pack(model: Model, tasks: Sequence[Task], task_format: TaskFormat) -> list[PackedTask]:
    if model.no_text:
        raise UsageError(f"{model.path} cannot choose between texts: {model.no_text}")
    if model.adds_eos:
        raise UsageError(f"{model.path} ends every text with EOS, so it cannot go on with one")
    packed = [pack(model, task, task_format) for task in tasks]
    for task, rows in zip(tasks, packed, strict=True):
        n_tokens = int(rows.positions.max()) + 1
        if n_tokens > model.n_ctx_train:
            raise UsageError(
                f"task {task.id} has {n_tokens} tokens, "
                f"{model.path} was made for {model.n_ctx_train}"
            )
    return packed


def _answer(
    model: Model, task: Task, rows: PackedTask, logits: Results, task_format: TaskFormat
) -> Answer:
    sums = [log_likelihood(logits[at], targets, task_format) for at, targets in rows.readings]
    if not np.isfinite(sums).all():
        problem = "its logits are not finite numbers: weights or metadata are broken"
        raise MalformedFileError(str(model.path), problem)
    in_characters = task_format is TaskFormat.JSONL
    lengths = map(len, task.choices if in_characters else (at for at, _ in rows.readings))
    # llama-perplexity divides in single precision
    exact = np.float64 if in_characters else np.float32
    normalised = [float(exact(s) / exact(n)) for s, n in zip(sums, lengths, strict=True)]
    others = sums[: task.answer] + sums[task.answer + 1 :]
    return Answer(
        task.id,
        task.answer,
        tuple(sums),
        tuple(normalised),
        int(np.argmax(sums)),
        int(np.argmax(normalised)),
        sums[task.answer] - max(others),
    )


def _summary(layer_path: str | None, answers: Sequence[Answer], n_tasks_in_all: int) -> Choices:
    accuracy, normalised, margin = map(mean_of, zip(*map(_values, answers), strict=True))
    n_tasks, told = len(answers), tuple(answers)
    return Choices(layer_path, n_tasks, accuracy, normalised, margin, told, n_tasks_in_all)


def _values(answer: Answer) -> tuple[float, float, float]:
    right = answer.chosen == answer.answer
    return float(right), float(answer.chosen_normalised == answer.answer), answer.margin
