"""What the command says of changes: in words, from figures that are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ggufsurgeon.cli.measuring.leaderboard_verdict import notes, verdict
from ggufsurgeon.leaderboard.documents import TaskScore
from ggufsurgeon.leaderboard.results import AnswerCounts, LeaderboardResult, PathResult
from ggufsurgeon.leaderboard.scores.changes import changes
from ggufsurgeon.leaderboard.scores.scores import figure_scores
from tests.leaderboard.scores.made_up import task

COUNTS = AnswerCounts(100, 0, 0, 0, 0)
LABELS = ["as it is", "rys (0..4,3..4)"]


def result(*sides: list[TaskScore], counts: AnswerCounts = COUNTS) -> LeaderboardResult:
    base, *paths = sides
    judged = changes(base, paths)
    made = [
        PathResult(Path("model.gguf"), "0..4,3..4", figure_scores(side), None, counts, changed)
        for side, changed in zip(sides, ((), *judged.of_paths), strict=True)
    ]
    return LeaderboardResult(made[0], tuple(made[1:]), judged.bar, None, 100)


def sides(share: float) -> list[list[TaskScore]]:
    generator = np.random.default_rng(0)
    rows = [list(generator.random(300) < right) for right in (0.5, share)]
    return [[task("mmlu_pro", row, "acc"), task("gpqa_main", rows[0])] for row in rows]


def test_nothing_beyond_luck() -> None:
    first, last = verdict(result(*sides(0.51)), LABELS)
    assert first.startswith("No change is significant. 2 changes are judged together")
    assert "once in 20 runs" in first
    assert last == "No average: the leaderboard's average is of all six benchmarks in full."


def test_one_change_alone_and_one_of_a_kind() -> None:
    base, path = ([one] for one, _ in sides(0.51))
    first, _ = verdict(result(base, path), LABELS)
    assert first.startswith("The change is not significant. One change is judged")
    sure, bar, _ = verdict(result(*([one] for one, _ in sides(0.9))), LABELS)
    assert "better by" in sure and bar.endswith("once in 20 runs.")
    one = AnswerCounts(1, 1, 0, 1, 1)
    assert notes(result(base, counts=one), LABELS[:1]) == [
        "as it is: 1 of 1 prompt lost the beginning, 1 of 1 text (100 %) reached the "
        "maximum number of tokens"
    ]


def test_a_change_that_luck_does_not_give() -> None:
    for share, word in ((0.7, "better"), (0.3, "worse")):
        found, bar, _ = verdict(result(*sides(share)), LABELS)
        assert found.startswith(f"MMLU-Pro along rys (0..4,3..4): {word} by ")
        assert "a significant change (p = 0.00025)" in found or "(p = 0.0005)" in found
        assert bar.endswith("; the other one is not significant.")


def test_one_model_alone_has_no_findings() -> None:
    (last,) = verdict(result(sides(0.5)[0]), LABELS[:1])
    assert last.startswith("No average")


def test_notes_on_answers() -> None:
    assert notes(result(*sides(0.5)), LABELS) == []
    counts = AnswerCounts(1000, 2, 3, 50, 20)
    first, second = notes(result(*sides(0.5), counts=counts), LABELS)
    assert first == (
        "as it is: 2 of 1,000 prompts lost the beginning, 20 of 50 texts (40 %) reached the "
        "maximum number of tokens, 3 answers with logits that are not finite numbers, scored as "
        "wrong"
    )
    assert second.startswith(LABELS[1])
