"""The figures of the leaderboard: a published row, clamps, averages."""

from __future__ import annotations

import pytest

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.documents import TaskScore
from ggufsurgeon.leaderboard.scores.scores import average, figure_scores
from tests.leaderboard.scores.made_up import (
    BBH_CHOICES,
    BBH_DOCUMENTS,
    document,
    ifeval,
    right,
    task,
)

PUBLISHED = {
    "ifeval": 79.96,
    "bbh": 58.77,
    "math": 38.97,
    "gpqa": 17.90,
    "musr": 23.72,
    "mmlu-pro": 49.20,
}
"""RYS-XLarge on the Open LLM Leaderboard, and 44.75 on average."""
MATH_SUBJECTS = {
    **{"algebra": 307, "counting_and_prob": 123, "geometry": 132, "intermediate_algebra": 280},
    **{"num_theory": 154, "prealgebra": 193, "precalculus": 135},
}
RIGHT_BBH = {
    name: round((0.5877 + 0.4123 / n_choices) * BBH_DOCUMENTS[name])
    for name, n_choices in BBH_CHOICES.items()
}
RIGHT_BBH["date_understanding"] += 6
"""Counts of right answers that give each task about the published mean of all, and together it."""


def published_tasks() -> list[TaskScore]:
    """Counts of right answers that give the published row.

    MMLU-Pro's 6,531, GPQA's 458 and MATH's 516 are the only counts that give its figures; how those
    of GPQA and MATH are spread over their sets makes no difference. Of the others many do: nine
    pairs for IFEval, 341 triples of plausible counts for MuSR, and for BBH more than can be listed.
    """
    bbh = [
        task(f"bbh_{name}", right(RIGHT_BBH[name], n), n_choices=BBH_CHOICES[name])
        for name, n in BBH_DOCUMENTS.items()
    ]
    math, n_left = [], 516
    for name, n in MATH_SUBJECTS.items():
        n_right = min(n_left, n)
        n_left -= n_right
        metrics = ("exact_match", "exact_match_original")
        math.append(task(f"math_{name}_hard", right(n_right, n), *metrics))
    gpqa = [
        task(f"gpqa_{name}", right(n_right, n), n_choices=4)
        for name, n_right, n in (("diamond", 8, 198), ("extended", 250, 546), ("main", 200, 448))
    ]
    musr = [
        task("musr_murder_mysteries", right(147, 250), n_choices=2),
        task("musr_object_placements", right(106, 256), n_choices=5),
        task("musr_team_allocation", right(128, 250), n_choices=3),
    ]
    rest = [ifeval(541, 834, (415, 694)), task("mmlu_pro", right(6531, 12032), "acc", n_choices=10)]
    return [*rest, *bbh, *math, *gpqa, *musr]


def test_the_published_row_from_counts() -> None:
    scores = {score.name: score for score in figure_scores(published_tasks())}
    assert all(score.is_in_full for score in scores.values())
    found = {name: scores[name].normalised.value for name in PUBLISHED}
    assert found == pytest.approx(PUBLISHED, abs=0.005)
    mean = average(list(scores.values()))
    assert mean is not None and f"{mean.value:.2f}" == "44.75"
    assert scores["math-original"].normalised == scores["math"].normalised


def test_no_average_unless_all_six_ran_in_full() -> None:
    tasks = published_tasks()
    first = tasks[0]
    for fewer in (tasks[1:], [first._replace(documents=first.documents[:-1]), *tasks[1:]]):
        assert average(figure_scores(fewer)) is None
    without = [one for one in tasks if "math" not in one.task]
    assert average(figure_scores(without)) is None


def test_subtasks_are_normalised_before_their_mean() -> None:
    """One at 75 % of two choices, one below the 1/3 of three: (50 + 0) / 2, not of the mean."""
    tasks = [
        task("bbh_navigate", right(3, 4), n_choices=2),
        task("bbh_disambiguation_qa", right(1, 8), n_choices=3),
    ]
    (bbh,) = figure_scores(tasks)
    assert bbh.normalised.value == pytest.approx(25)
    assert bbh.raw.value == pytest.approx(100 * 4 / 12), "documents count alike, as in the harness"
    assert [one.lower_bound for one in bbh.subtasks] == pytest.approx([50, 100 / 3])
    assert [one.raw.value for one in bbh.subtasks] == [75, 12.5]


def test_musr_counts_five_placements_whatever_a_document_has() -> None:
    (musr,) = figure_scores([task("musr_object_placements", right(6, 10), n_choices=3)])
    assert musr.normalised.value == pytest.approx(50)


def test_sets_of_gpqa_count_by_their_size() -> None:
    tasks = [task("gpqa_diamond", right(2, 2)), task("gpqa_main", right(2, 6))]
    (gpqa,) = figure_scores(tasks)
    assert gpqa.raw.value == pytest.approx(50)
    assert gpqa.normalised.value == pytest.approx(100 / 3)


def test_ifeval_is_the_mean_of_prompts_and_instructions() -> None:
    documents = (
        document(0, {"prompt_level_strict_acc": (0,), "inst_level_strict_acc": (1, 1, 0)}),
        document(1, {"prompt_level_strict_acc": (1,), "inst_level_strict_acc": (1,)}),
    )
    (found,) = figure_scores([TaskScore("leaderboard_ifeval", "3.0", {}, documents)])
    assert found.raw.value == found.normalised.value == pytest.approx((50 + 75) / 2)


def test_a_document_without_a_score() -> None:
    with pytest.raises(UsageError, match="document 0 of leaderboard_mmlu_pro has no score by acc"):
        figure_scores([task("mmlu_pro", [1, 0], "acc_norm")])


def test_what_did_not_run_has_no_figure() -> None:
    assert figure_scores([]) == ()
    assert [one.name for one in figure_scores([task("mmlu_pro", [1, 0], "acc")])] == ["mmlu-pro"]
