"""The verdict on the scores of a leaderboard run, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ggufsurgeon.reporting.lettering import counted

if TYPE_CHECKING:
    from ggufsurgeon.leaderboard.results import AnswerCounts, LeaderboardResult
    from ggufsurgeon.leaderboard.scores.changes import FigureChange


def notes(result: LeaderboardResult, labels: Sequence[str]) -> list[str]:
    """Counts to read the scores with: cut prompts, texts at their limit, broken answers."""
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
            f"{counts.n_at_limit:,} of {counted(counts.n_generated, 'text')} ({share:.0f} %) "
            "reached the maximum number of tokens"
        )
    if counts.n_not_finite:
        yield (
            f"{counted(counts.n_not_finite, 'answer')} with logits that are not finite numbers, "
            "scored as wrong"
        )


def verdict(result: LeaderboardResult, labels: Sequence[str]) -> list[str]:
    """Which changes are significant, and why an average is missing."""
    lines = _findings(result, labels) if result.paths else []
    if result.base.average is None:
        lines.append(
            "No average: the leaderboard's average is of all six benchmarks in full"
            + (
                f", and --limit {result.limit} takes only the first documents of each subtask."
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
    bar = _bar(len(changes), result.bar)
    if not sure:
        nothing = "No change is" if len(changes) > 1 else "The change is not"
        return [f"{nothing} significant. {bar}."]
    found = [f"{titles[change.name]} along {label}: {_told(change)}" for label, change in sure]
    others = f"; {_others(len(changes) - len(sure))}" if len(changes) > 1 else ""
    return [*found, f"{bar}{others}."]


def _bar(n_changes: int, bar: float | None) -> str:
    """What changes reach without any effect."""
    if bar is None:
        return "So few documents differ that chance alone can make all of them differ alike"
    if n_changes == 1:
        judged = "One change is judged, by raw scores: without any effect, it exceeds"
    else:
        judged = (
            f"{n_changes} changes are judged together, by raw scores: without any effect, the "
            "largest of them exceeds"
        )
    return f"{judged} {bar:.2f} standard errors once in 20 runs"


def _told(change: FigureChange) -> str:
    direction = "better" if change.raw.value > 0 else "worse"
    points = f"{abs(change.raw.value):.2f} raw points"
    return f"{direction} by {points}, a significant change (p = {change.p_value:.2g})"


def _others(n: int) -> str:
    if not n:
        return "all of them are significant"
    return f"the other {n} are not significant" if n > 1 else "the other one is not significant"
