"""The results of a run of the leaderboard's benchmarks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.leaderboard.requests import EvaluationAnswer, GenerationAnswer
from ggufsurgeon.leaderboard.scores.changes import FigureChange
from ggufsurgeon.leaderboard.scores.scores import FigureScore
from ggufsurgeon.statistics.estimate import Estimate


class AnswerCounts(NamedTuple):
    """Counts of answers along a path that matter for reading its scores."""

    n_answers: int
    n_cut: int
    """Answers to prompts that lost their beginning, since the context is shorter."""
    n_not_finite: int
    """Answers whose logits are not finite numbers: their documents are scored as wrong."""
    n_generated: int
    """Generated texts among the answers."""
    n_at_limit: int
    """Of these, the ones that ended because they had the maximum number of tokens."""


def count_answers(answers: Iterable[EvaluationAnswer]) -> AnswerCounts:
    """The counts of some answers."""
    found = list(answers)
    texts = [one for one in found if isinstance(one, GenerationAnswer)]
    others = [one for one in found if not isinstance(one, GenerationAnswer)]
    n_not_finite = sum(one.text is None for one in texts)
    n_not_finite += sum(not math.isfinite(one.log_likelihood) for one in others)
    return AnswerCounts(
        len(found),
        sum(one.n_cut > 0 for one in found),
        n_not_finite,
        len(texts),
        sum(one.is_at_limit for one in texts),
    )


@dataclass(frozen=True)
class PathResult:
    """The leaderboard's figures of a model along one layer path."""

    model: Path
    layer_path: str
    """In full; for the unmodified model, all its blocks in order."""
    scores: tuple[FigureScore, ...]
    average: Estimate | None
    """Of the six normalised figures; None unless all six benchmarks ran in full."""
    counts: AnswerCounts
    changes: tuple[FigureChange, ...] = ()
    """The change of each figure from the base; empty for the base itself."""
    average_change: Estimate | None = None
    """The average less that of the base, with the error of the paired difference."""


@dataclass(frozen=True)
class LeaderboardResult:
    """The figures of a base and of layer paths, from the same prompts, scored by the harness.

    >>> import ggufsurgeon as gs
    >>> gs.LeaderboardResult.__name__
    'LeaderboardResult'
    """

    base: PathResult
    paths: tuple[PathResult, ...]
    """What is compared with the base; empty where one model alone was run."""
    bar: float | None
    """Standard errors that the largest of all changes exceeds, without any effect, with a
    probability of 5 %, in either direction. It grows with the number of figures and paths. None
    where too few documents differ to tell."""
    limit: int | None
    """The first documents of each task that were asked; None for all."""
    n_requests: int
    """Requests that each path answered."""
