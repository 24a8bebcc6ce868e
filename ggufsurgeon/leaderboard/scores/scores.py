"""The figures of one layer path: raw and normalised, with standard errors, and their average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ggufsurgeon.leaderboard.documents import TaskScore
from ggufsurgeon.leaderboard.scores.figures import FIGURES, N_COLUMNS, Figure, tasks_of
from ggufsurgeon.leaderboard.scores.tables import DocumentTable, document_table
from ggufsurgeon.statistics.estimate import Estimate


@dataclass(frozen=True)
class SubtaskScore:
    """The raw score of one task of the harness."""

    task: str
    """The harness' name."""
    version: str
    raw: Estimate
    """In percent."""
    lower_bound: float
    """The raw score that is normalised to 0, in percent."""
    n_documents: int


@dataclass(frozen=True)
class FigureScore:
    """A figure of the leaderboard along one layer path. Errors are cluster-robust."""

    name: str
    """One of `ifeval`, `bbh`, `math`, `math-original`, `gpqa`, `musr` and `mmlu-pro`."""
    title: str
    raw: Estimate
    """In percent, with the same weight for all documents, as the harness aggregates."""
    normalised: Estimate
    """From 0 to 100, as the leaderboard shows it."""
    n_documents: int
    n_in_full: int
    """Documents of the whole benchmark."""
    subtasks: tuple[SubtaskScore, ...]

    @property
    def is_in_full(self) -> bool:
        """Whether as many documents ran as the leaderboard had."""
        return self.n_documents == self.n_in_full


def figure_scores(tasks: Sequence[TaskScore]) -> tuple[FigureScore, ...]:
    """The figures of the benchmarks that ran, in the order of `FIGURES`.

    Raises UsageError for a document without a score.
    """
    found = ((figure, tasks_of(figure, tasks)) for figure in FIGURES)
    return tuple(_figure_score(figure, some) for figure, some in found if some)


def _figure_score(figure: Figure, tasks: Sequence[TaskScore]) -> FigureScore:
    table = document_table(figure, tasks)
    return FigureScore(
        figure.name,
        figure.title,
        Estimate(table.raw, _error(table, table.raw_weights)),
        Estimate(table.normalised, _error(table, table.normalised_weights)),
        len(table.parts),
        figure.n_documents,
        tuple(_subtask_score(figure, task) for task in tasks),
    )


def _subtask_score(figure: Figure, task: TaskScore) -> SubtaskScore:
    table = document_table(figure, [task])
    raw = Estimate(table.raw, _error(table, table.raw_weights))
    bound = 100 * figure.lower_bound(task)
    return SubtaskScore(task.task, task.version, raw, bound, len(task.documents))


def _error(
    table: DocumentTable, weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> float | None:
    return table.error(table.influence(weights))


def average(scores: Sequence[FigureScore]) -> Estimate | None:
    """The leaderboard's average of the six normalised figures; None unless all ran in full.

    Its error treats the benchmarks as independent, since they have no document in common.
    """
    return mean_of_columns([one.normalised for one in scores if one.name in full_columns(scores)])


def full_columns(scores: Sequence[FigureScore]) -> frozenset[str]:
    """The names of the leaderboard's columns that ran in full."""
    columns = {figure.name for figure in FIGURES if figure.is_column}
    return frozenset(one.name for one in scores if one.name in columns and one.is_in_full)


def mean_of_columns(columns: Sequence[Estimate]) -> Estimate | None:
    """The mean of six independent estimates; None of fewer."""
    if len(columns) < N_COLUMNS:
        return None
    errors = [one.error for one in columns if one.error is not None]
    value = float(np.mean([one.value for one in columns]))
    error = float(np.sqrt(np.square(errors).sum()) / N_COLUMNS)
    return Estimate(value, error if len(errors) == N_COLUMNS else None)
