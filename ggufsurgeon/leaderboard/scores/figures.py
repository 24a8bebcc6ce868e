"""The figures of the Open LLM Leaderboard: their tasks, metrics and lower bounds.

The bounds and the order of normalising and averaging are those of the leaderboard's documentation
(huggingface.co/docs/leaderboards/open_llm_leaderboard/normalization, and discussion 825 of its
space for MuSR). That GPQA and MATH are normalised over all their documents together, not set by
set, is not said there: it is inferred from the published rows, of which 458 of 1,192 and 516 of
1,324 are the only counts that give RYS-XLarge's 17.90 and 38.97.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.documents import TaskScore

MUSR_CHOICES = {"murder_mysteries": 2, "object_placements": 5, "team_allocation": 3}
"""As the leaderboard counts them; some placements have fewer than five choices."""


class Figure(NamedTuple):
    """A column of the leaderboard, or the second of MATH's two scores."""

    name: str
    title: str
    tasks: str
    """How the harness' names of its tasks begin."""
    metrics: tuple[str, ...]
    """The harness' names of metrics, whose mean it is."""
    lower_bound: Callable[[TaskScore], float]
    """The score of random answers to a task, from 0 to 1; it is normalised to 0."""
    by_subtask: bool
    """Whether each task is normalised by itself, and the plain mean is taken; else all documents
    count alike, whatever task they are of."""
    n_documents: int
    """Of the benchmark in full, as the leaderboard ran it."""
    is_column: bool = True
    """Whether it is one of the six that the leaderboard averages."""
    is_nested: bool = False
    """Whether a cluster spans several tasks, as a question of GPQA is in several of its sets."""


def _zero(_task: TaskScore) -> float:
    return 0.0


def _one_in_four(_task: TaskScore) -> float:
    return 1 / 4


def _one_in_ten(_task: TaskScore) -> float:
    return 1 / 10


def _one_of_its_choices(task: TaskScore) -> float:
    """The choices that the harness offers are as many as the leaderboard counted, in each task."""
    return 1 / max(document.n_choices or 1 for document in task.documents)


def _of_musr(task: TaskScore) -> float:
    return 1 / MUSR_CHOICES[task.task.removeprefix("leaderboard_musr_")]


STRICT = ("prompt_level_strict_acc", "inst_level_strict_acc")
FIGURES = (
    Figure("ifeval", "IFEval", "leaderboard_ifeval", STRICT, _zero, False, 541),
    Figure("bbh", "BBH", "leaderboard_bbh_", ("acc_norm",), _one_of_its_choices, True, 5761),
    # Math-Verify, which the leaderboard took in February 2025; the older scorer is the next row.
    Figure("math", "MATH Lvl 5", "leaderboard_math_", ("exact_match",), _zero, False, 1324),
    Figure(
        "math-original",
        "MATH, original scorer",
        tasks="leaderboard_math_",
        metrics=("exact_match_original",),
        lower_bound=_zero,
        by_subtask=False,
        n_documents=1324,
        is_column=False,
    ),
    Figure(
        "gpqa",
        "GPQA",
        tasks="leaderboard_gpqa_",
        metrics=("acc_norm",),
        lower_bound=_one_in_four,
        by_subtask=False,
        n_documents=1192,
        is_nested=True,
    ),
    Figure("musr", "MuSR", "leaderboard_musr_", ("acc_norm",), _of_musr, True, 756),
    Figure("mmlu-pro", "MMLU-Pro", "leaderboard_mmlu_pro", ("acc",), _one_in_ten, False, 12032),
)
N_COLUMNS = sum(figure.is_column for figure in FIGURES)


def tasks_of(figure: Figure, tasks: Sequence[TaskScore]) -> tuple[TaskScore, ...]:
    """The tasks that a figure is made of, in their order; none where its benchmark did not run.

    Raises UsageError for a document without a score by one of the figure's metrics.
    """
    found = tuple(task for task in tasks if task.task.startswith(figure.tasks) and task.documents)
    for task in found:
        for document in task.documents:
            if not all(document.values.get(metric) for metric in figure.metrics):
                raise UsageError(
                    f"document {document.key.number} of {task.task} has no score by "
                    f"{' and '.join(figure.metrics)}"
                )
    return found
