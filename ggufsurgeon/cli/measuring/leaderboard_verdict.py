"""What the figures of a leaderboard run are worth, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ggufsurgeon.reporting.lettering import counted

if TYPE_CHECKING:
    from ggufsurgeon.leaderboard.results import AnswerCounts, LeaderboardResult
    from ggufsurgeon.leaderboard.scores.changes import FigureChange


def notes(result: LeaderboardResult, labels: Sequence[str]) -> list[str]:
    """What scores should be read with: cut prompts, texts at their limit, broken answers."""
    paths = (result.base, *result.paths)
    return [
        f"{label}: {', '.join(parts)}"
        for label, path in zip(labels, paths, strict=True)
        if (parts := list(_counted(path.counts)))
    ]


def _counted(counts: AnswerCounts) -> Iterator[str]:
    if counts.n_cut:
        yield f"{counts.n_cut:,} of {counted(counts.n_answers, 'prompt')} lost the beginning"
    if counts.n_generated:
        share = 100 * counts.n_at_limit / counts.n_generated
        yield (
            f"{counts.n_at_limit:,} of {counted(counts.n_generated, 'text')} ({share:.0f} %) ended "
            "at the most tokens"
        )
    if counts.n_not_finite:
        yield (
            f"{counted(counts.n_not_finite, 'answer')} without finite numbers, scored as wrong: "
            "the model computes nothing of use there"
        )


def verdict(result: LeaderboardResult, labels: Sequence[str]) -> list[str]:
    """What can be said of the changes, and what cannot."""
    lines = _findings(result, labels) if result.paths else []
    if result.base.average is None:
        lines.append(
            "No average: the leaderboard's is of all six benchmarks in full"
            + (
                f", and --limit {result.limit} asks the first of each task."
                if result.limit
                else "."
            )
        )
    return lines


def _findings(result: LeaderboardResult, labels: Sequence[str]) -> list[str]:
    titles = {score.name: score.title for score in result.base.scores}
    changes = [
        (label, change)
        for label, path in zip(labels[1:], result.paths, strict=True)
        for change in path.changes
    ]
    sure = [(label, change) for label, change in changes if change.is_sure]
    which = (
        f"{len(changes)} changes are judged together, by raw scores: the greatest of them"
        if len(changes) > 1
        else "It is judged by the raw score, which"
    )
    bar = f"{which} is beyond {result.bar:.2f} standard errors by luck alone once in 20 runs"
    if not sure:
        nothing = "No change is" if len(changes) > 1 else "The change is not"
        return [f"{nothing} beyond luck. {bar}."]
    found = [f"{titles[change.name]} along {label}: {_told(change)}" for label, change in sure]
    others = f"; {_others(len(changes) - len(sure))}" if len(changes) > 1 else ""
    return [*found, f"{bar}{others}."]


def _told(change: FigureChange) -> str:
    direction = "better" if change.raw.value > 0 else "worse"
    points = f"{abs(change.raw.value):.2f} points"
    return f"{direction} by {points} of raw score, more than luck gives (p = {change.p_value:.2g})"


def _others(n: int) -> str:
    if not n:
        return "none is within that"
    return f"the other {n} may be luck" if n > 1 else "the other one may be luck"
