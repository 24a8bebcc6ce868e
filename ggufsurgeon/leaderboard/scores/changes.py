"""What a layer path changes: paired differences from the base, and their p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.documents import TaskScore
from ggufsurgeon.leaderboard.scores.figures import FIGURES, Figure, tasks_of
from ggufsurgeon.leaderboard.scores.scores import FigureScore, full_columns, mean_of_columns
from ggufsurgeon.leaderboard.scores.tables import DocumentTable, Values, document_table
from ggufsurgeon.statistics.estimate import Estimate
from ggufsurgeon.statistics.maximum import LEVEL, maximum_null

ONE_COMPARISON = 1.96
"""Standard errors that a single difference without an effect exceeds, in either direction, with
probability `LEVEL`."""
BEYOND_REACH = 1000.0
"""Standard errors that only equal differences exceed, whose variance is 0."""


@dataclass(frozen=True)
class FigureChange:
    """A figure along a path less the same figure of the base, over the same documents."""

    name: str
    """That of the figure."""
    raw: Estimate
    """In points, with the cluster-robust error of the paired difference."""
    normalised: Estimate
    """In points. A side on which a task is below its lower bound adds no error for it."""
    p_value: float
    """Adjusted for all changes that were compared (step-down): the probability that without any
    effect such a change is as many standard errors from 0, in either direction. It is computed
    from the raw scores, since they are not clamped at a bound."""
    n_to_be_sure: int | None
    """Documents with which the raw difference would exceed the bar, if it and its variance stay as
    observed; None without a difference, an error or a bar."""

    @property
    def is_sure(self) -> bool:
        """Whether the change is significant: its p-value is at most `LEVEL`."""
        return self.p_value <= LEVEL


@dataclass(frozen=True)
class Changes:
    """The changes of all paths, judged together."""

    of_paths: tuple[tuple[FigureChange, ...], ...]
    """For each path, the change of each figure."""
    bar: float | None
    """Standard errors that the largest of all these changes exceeds, without any effect, with
    probability `LEVEL`, in either direction; 1.96 for one comparison of many documents. None where
    so few clusters differ that chance makes them all differ alike more often than that."""


class _Pair(NamedTuple):
    """The scores of a figure's documents along a path and of the base."""

    figure: Figure
    path: DocumentTable
    base: DocumentTable

    def change(self, p_value: float, bar: float | None) -> FigureChange:
        raw = self._estimate(self.path.raw - self.base.raw, is_raw=True)
        normalised = self._estimate(self.path.normalised - self.base.normalised, is_raw=False)
        n = documents_to_be_sure(raw, len(self.path.parts), bar)
        return FigureChange(self.figure.name, raw, normalised, p_value, n)

    def _estimate(self, value: float, *, is_raw: bool) -> Estimate:
        weights = [
            table.raw_weights if is_raw else table.normalised_weights
            for table in (self.path, self.base)
        ]
        of_path = self.path.influence(weights[0])
        return Estimate(value, self.path.error(of_path - self.base.influence(weights[1])))

    def cluster_differences(self) -> Values:
        """What each cluster adds to the raw difference, in points, [n_clusters]."""
        tables = (self.path, self.base)
        of_path, of_base = (table.contributions(table.raw_weights) for table in tables)
        return np.asarray(np.bincount(self.path.clusters, of_path - of_base), dtype=np.float64)


def changes(base: Sequence[TaskScore], paths: Sequence[Sequence[TaskScore]]) -> Changes:
    """The changes along each path against the base, with p-values for all of them together.

    The signs of the differences of each cluster flip at random, for all figures and paths at once
    (`statistics.maximum`). Raises UsageError unless all have scores of the same documents, prompts
    and targets.
    """
    pairs = [_pairs(base, path) for path in paths]
    p_values, bar = _judged([pair for some in pairs for pair in some])
    found = iter(p_values)
    return Changes(
        tuple(tuple(pair.change(next(found), bar) for pair in some) for some in pairs), bar
    )


def average_change(
    of_figures: Sequence[FigureChange], scores: Sequence[FigureScore]
) -> Estimate | None:
    """The change of the leaderboard's average; None unless all six `scores` are in full."""
    columns = full_columns(scores)
    return mean_of_columns([one.normalised for one in of_figures if one.name in columns])


def documents_to_be_sure(difference: Estimate, n_documents: int, bar: float | None) -> int | None:
    """Documents with which `difference`, observed on n documents, would be `bar` standard errors.

    The error of a mean falls with the square root of their number.
    """
    if bar is None or not difference.value or not difference.error:
        return None
    return math.ceil(n_documents * (bar * difference.error / difference.value) ** 2)


def _pairs(base: Sequence[TaskScore], path: Sequence[TaskScore]) -> list[_Pair]:
    _check_same(base, path)
    both = ((figure, tasks_of(figure, path), tasks_of(figure, base)) for figure in FIGURES)
    return [
        _Pair(figure, document_table(figure, own), document_table(figure, other))
        for figure, own, other in both
        if own
    ]


def _check_same(base: Sequence[TaskScore], path: Sequence[TaskScore]) -> None:
    """Raise UsageError unless both have scores of the same documents, prompts and targets."""
    if [(task.task, task.version) for task in base] != [(task.task, task.version) for task in path]:
        raise UsageError(
            "the scores to compare are of different tasks, or of different versions of a task"
        )
    for one, other in zip(base, path, strict=True):
        keys = [document.key for document in one.documents]
        if keys != [document.key for document in other.documents]:
            raise UsageError(
                f"the scores of {one.task} to compare are of different documents, prompts or "
                "targets"
            )


def _judged(pairs: Sequence[_Pair]) -> tuple[list[float], float | None]:
    """The p-value of the change of each pair among all, and the bar in standard errors, if any."""
    if not pairs:
        return [], ONE_COMPARISON
    differences = _side_by_side(pairs)
    # Either direction: each row is joined by its negative, and the smaller p-value is taken.
    null = maximum_null(np.concatenate([differences, -differences]))
    p_values = null.p_values.reshape(2, len(pairs)).min(axis=0)
    bar = max(null.luck_z, ONE_COMPARISON) if null.luck_z < BEYOND_REACH else None
    return p_values.tolist(), bar


def _side_by_side(pairs: Sequence[_Pair]) -> Values:
    """The differences of the clusters, a row for each pair, [n_pairs, n_clusters in all].

    The same documents have the same columns along every path, so that their signs flip together;
    a figure is 0 in the columns of the others. A column of zeros more changes no sign test.
    """
    names = list(dict.fromkeys(pair.figure.name for pair in pairs))
    found = [(pair.figure.name, pair.cluster_differences()) for pair in pairs]
    sizes = {name: len(row) for name, row in found}
    starts = dict(zip(names, np.cumsum([0, *(sizes[name] for name in names)]), strict=False))
    differences = np.zeros((len(pairs), max(sum(sizes.values()), 2)))
    for n, (name, row) in enumerate(found):
        differences[n, starts[name] : starts[name] + len(row)] = row
    return differences
