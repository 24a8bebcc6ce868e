"""The scores of a figure's documents as arrays, and how each moves the raw and normalised mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.leaderboard.documents import TaskScore
from ggufsurgeon.leaderboard.scores.figures import Figure

Values: TypeAlias = npt.NDArray[np.float64]


class DocumentTable(NamedTuple):
    """The documents of a figure along one path, those of all its tasks in order."""

    sums: Values
    """Sums of the scores of each document, [n_metrics, n_documents]."""
    counts: Values
    """How many scores these are: IFEval has one for each instruction, [n_metrics, n_documents]."""
    parts: npt.NDArray[np.int64]
    """The part of the figure that a document is in, [n_documents]: its task where tasks are
    normalised one by one, else 0."""
    bounds: Values
    """The lower bound of each part, [n_parts]."""
    clusters: npt.NDArray[np.int64]
    """Numbers of clusters, [n_documents]."""

    @property
    def n_parts(self) -> int:
        """How many parts are normalised by themselves."""
        return len(self.bounds)

    def totals(self, values: Values) -> Values:
        """The sums over the documents of each part, [n_metrics, n_parts]."""
        return np.stack([np.bincount(self.parts, row, self.n_parts) for row in values])

    @property
    def means(self) -> Values:
        """The mean of the metrics in each part, from 0 to 1, [n_parts]."""
        return np.asarray((self.totals(self.sums) / self.totals(self.counts)).mean(axis=0))

    @property
    def raw_weights(self) -> Values:
        """The weight of each part in the raw mean, in points: all documents count alike."""
        return 100 * np.bincount(self.parts, minlength=self.n_parts) / len(self.parts)

    @property
    def normalised_weights(self) -> Values:
        """How the normalised mean moves with each part's, in points; 0 below the bound, [n_parts].

        Normalising is piecewise linear: the slope is 1 / (1 - bound) above the bound of a part, and
        0 below it. Errors use the slope at the observed mean. A part whose true mean is at its
        bound is above it half the time, so that its error is counted half the time; the true
        variance there is less: 1/2 - 1/(2 pi) of the unclamped one.
        """
        slopes = (self.means > self.bounds) / (1 - self.bounds)
        return np.asarray(100 * slopes / self.n_parts)

    @property
    def raw(self) -> float:
        """The mean of all documents in percent, which is the harness' aggregate of the group."""
        return float(self.raw_weights @ self.means)

    @property
    def normalised(self) -> float:
        """The figure as the leaderboard shows it: parts above their bounds, then their mean."""
        above = np.maximum(self.means - self.bounds, 0) / (1 - self.bounds)
        return float(100 * above.mean())

    def influence(self, weights: Values) -> Values:
        """How each document moves the weighted sum of the parts' means, [n_documents].

        The residuals of ratios of sums, which add up to 0 in each part: the linearisation behind
        the sandwich estimator.
        """
        totals = self.totals(self.counts)
        means = self.totals(self.sums) / totals
        residuals = (self.sums - self.counts * means[:, self.parts]) / totals[:, self.parts]
        return np.asarray(weights[self.parts] * residuals.mean(axis=0))

    def contributions(self, weights: Values) -> Values:
        """What each document adds to the weighted sum of the parts' means, [n_documents]."""
        shares = self.sums / self.totals(self.counts)[:, self.parts]
        return np.asarray(weights[self.parts] * shares.mean(axis=0))

    def error(self, influence: Values) -> float | None:
        """The cluster-robust standard error of a sum with this influence of each document.

        Influences are summed in each cluster, squared and summed: the sandwich estimator for
        clusters (Liang and Zeger, Biometrika 73, 1986), times G / (G - 1) for the G clusters of
        each part, since parts are strata: another sample would have other documents of the same
        parts. None where a part has a single cluster.
        """
        pairs = np.unique(np.stack([self.parts, self.clusters]), axis=1)[0]
        n_clusters = np.bincount(pairs, minlength=self.n_parts)
        if n_clusters.min() < 2:
            return None
        corrected = influence * np.sqrt(n_clusters / (n_clusters - 1))[self.parts]
        return float(np.sqrt((np.bincount(self.clusters, corrected) ** 2).sum()))


def document_table(figure: Figure, tasks: Sequence[TaskScore]) -> DocumentTable:
    """The documents of a figure's tasks, which are one or more."""
    documents = [document for task in tasks for document in task.documents]
    values = [[document.values[metric] for document in documents] for metric in figure.metrics]
    numbers = [n for n, task in enumerate(tasks) for _ in task.documents]
    names = [
        (0 if figure.is_nested else n, document.cluster)
        for n, document in zip(numbers, documents, strict=True)
    ]
    known = {name: n for n, name in enumerate(dict.fromkeys(names))}
    return DocumentTable(
        np.array([[sum(each) for each in row] for row in values], dtype=np.float64),
        np.array([[len(each) for each in row] for row in values], dtype=np.float64),
        np.array(numbers if figure.by_subtask else [0] * len(documents), dtype=np.int64),
        np.array(
            [figure.lower_bound(task) for task in (tasks if figure.by_subtask else tasks[:1])]
        ),
        np.array([known[name] for name in names], dtype=np.int64),
    )
