"""Results of multiple-choice tasks: accuracy, margin, and paired differences of two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.statistics.estimate import Estimate, mean_of


@dataclass(frozen=True)
class TaskResult:
    """The scores of the choices of one task; tuples have a number for each choice."""

    id: str
    answer: int
    """The index of the correct choice."""
    log_likelihoods: tuple[float, ...]
    """Sums of the log-probabilities of the scored tokens, in nats."""
    normalised: tuple[float, ...]
    """The same in nats per character of the choice for the JSONL format, as lm-eval's acc_norm, and
    in nats per scored token for llama-perplexity's formats, as llama-perplexity prints them."""
    chosen: int
    """The index of the choice with the highest log-likelihood."""
    chosen_normalised: int
    """The index of the choice with the highest normalised log-likelihood."""
    margin: float
    """Log-likelihood of the correct choice, less the highest of the others, in nats."""

    @property
    def is_correct(self) -> bool:
        """Whether the correct choice has the highest log-likelihood."""
        return self.chosen == self.answer

    @property
    def is_correct_normalised(self) -> bool:
        """Whether the correct choice has the highest normalised log-likelihood."""
        return self.chosen_normalised == self.answer


@dataclass(frozen=True)
class MultipleChoiceResult:
    """The accuracy of a model on multiple-choice tasks, along one layer path.

    Errors are standard errors of means over tasks, with n - 1; None for a single task.

    >>> import ggufsurgeon as gs
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     (result,) = model.choose("fixtures/tasks/choices.jsonl")
    >>> result.n_tasks, result.layer_path, round(result.accuracy.value, 3)
    (14, None, 0.714)
    """

    layer_path: str | None
    """The layer path that was routed, in its notation; None for the unmodified model, run whole."""
    n_tasks: int
    accuracy: Estimate
    """Share of tasks, from 0 to 1, whose correct choice has the highest log-likelihood: lm-eval's
    acc."""
    accuracy_normalised: Estimate
    """The same by normalised log-likelihoods: lm-eval's acc_norm, or llama-perplexity's score."""
    margin: Estimate
    """Mean margin of the tasks, in nats."""
    task_results: tuple[TaskResult, ...]
    """The result of each task, in order."""
    n_tasks_in_all: int
    """Tasks of the run: `n_tasks`, or more where the run was interrupted."""
    devices: tuple[DeviceUse, ...] = ()
    """What each device held; empty for an interrupted run."""

    @property
    def is_partial(self) -> bool:
        """Whether the run was interrupted."""
        return self.n_tasks < self.n_tasks_in_all


class CompletedTasks:
    """The results of the tasks so far, along each layer path; without paths, of the whole model."""

    def __init__(self, layer_paths: Sequence[LayerPath], n_tasks_in_all: int) -> None:
        self._names: list[str | None] = [str(path) for path in layer_paths] or [None]
        self._task_results: list[list[TaskResult]] = [[] for _ in self._names]
        self._n_tasks_in_all = n_tasks_in_all

    def add(self, results: Sequence[TaskResult]) -> None:
        """Add the results of the next task, one along each path."""
        for known, result in zip(self._task_results, results, strict=True):
            known.append(result)

    def results(self) -> tuple[MultipleChoiceResult, ...]:
        """The means over the tasks so far along each path; at least one task was added."""
        named = zip(self._names, self._task_results, strict=True)
        return tuple(_summary(name, known, self._n_tasks_in_all) for name, known in named)


@dataclass(frozen=True)
class PairedDifference:
    """Means of differences task by task, with the standard errors of these means.

    The errors are smaller than those of two independent runs, since hard tasks are hard for both.
    """

    accuracy: Estimate
    """From -1 to 1."""
    accuracy_normalised: Estimate
    margin: Estimate
    """In nats."""


def paired_difference(result: MultipleChoiceResult, base: MultipleChoiceResult) -> PairedDifference:
    """The differences of two results on the same tasks: `result` less `base`.

    Raises ValueError when the numbers of tasks differ.

    >>> import ggufsurgeon as gs
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     repeated, plain = model.choose("fixtures/tasks/choices.jsonl", [gs.repeat("1:3"), None])
    >>> round(gs.paired_difference(repeated, plain).accuracy.value, 3)
    -0.143
    """
    pairs = zip(result.task_results, base.task_results, strict=True)
    differences = [np.subtract(_values(one), _values(other)) for one, other in pairs]
    return PairedDifference(*map(mean_of, zip(*differences, strict=True)))


def _summary(
    layer_path: str | None, results: Sequence[TaskResult], n_tasks_in_all: int
) -> MultipleChoiceResult:
    accuracy, normalised, margin = map(mean_of, zip(*map(_values, results), strict=True))
    return MultipleChoiceResult(
        layer_path, len(results), accuracy, normalised, margin, tuple(results), n_tasks_in_all
    )


def _values(result: TaskResult) -> tuple[float, float, float]:
    """The quantities whose means are taken: accuracy, normalised accuracy and margin."""
    return float(result.is_correct), float(result.is_correct_normalised), result.margin
