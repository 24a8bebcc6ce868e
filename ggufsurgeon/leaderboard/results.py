"""What a run of the leaderboard's benchmarks has found."""

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
    """How many answers along a path are of a kind that scores should be read with."""

    n_answers: int
    n_cut: int
    """Answers to prompts that lost their beginning, since the context is shorter."""
    n_not_finite: int
    """Answers that are not finite numbers: their documents are scored as wrong."""
    n_generated: int
    """Generated texts among the answers."""
    n_at_limit: int
    """Of these, the ones that ended because the most tokens were generated."""


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
    """In full; of the model as it is, all its blocks in order."""
    scores: tuple[FigureScore, ...]
    average: Estimate | None
    """Of the six normalised figures; None unless all six benchmarks ran in full."""
    counts: AnswerCounts
    changes: tuple[FigureChange, ...] = ()
    """What differs from the base, for each figure; none of the base itself."""
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
    """What is compared with the base; none where one model alone was run."""
    bar: float
    """Standard errors that the greatest of all changes exceeds by luck alone with a probability of
    5 %, in either direction: the more figures and paths are compared, the higher."""
    limit: int | None
    """The first documents of each task that were asked; None for all."""
    n_requests: int
    """Requests that each path answered."""
