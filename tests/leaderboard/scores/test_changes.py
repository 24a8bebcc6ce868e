"""Paired differences: errors against other formulas and simulations, p-values, what is enough."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean

import numpy as np
import numpy.typing as npt
import pytest

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.documents import TaskScore
from ggufsurgeon.leaderboard.scores.changes import FigureChange, changes, documents_to_be_sure
from ggufsurgeon.leaderboard.scores.scores import figure_scores
from ggufsurgeon.statistics.estimate import Estimate
from ggufsurgeon.statistics.maximum import LEVEL
from tests.leaderboard.scores.made_up import document, task

Values = npt.NDArray[np.float64]


def one_change(base: list[TaskScore], path: list[TaskScore]) -> FigureChange:
    ((found,),) = changes(base, [path]).of_paths
    return found


def stories(generator: np.random.Generator, n_stories: int, each: int) -> tuple[Values, list[str]]:
    """Answers of two paths, [2, n]; those of a story are right or wrong together, mostly."""
    n = n_stories * each
    of_story = np.repeat(generator.random((2, n_stories)), each, axis=1)
    own = generator.random((2, n))
    hard = np.where(generator.random((2, n)) < 0.7, of_story, own)
    names = [f"story {number}" for number in range(n_stories) for _ in range(each)]
    return (hard < np.array([[0.45], [0.55]])).astype(float), names


def least_squares_error(differences: Values, clusters: list[str]) -> float:
    """The cluster-robust error of the intercept of a regression on nothing else.

    By the matrices of the textbook: (X'X)^-1 (sum over clusters of X'e e'X) (X'X)^-1, times
    G / (G - 1).
    """
    design = np.ones((len(differences), 1))
    bread = np.linalg.inv(design.T @ design)
    residuals = differences - design @ (bread @ design.T @ differences)
    names = sorted(set(clusters))
    meat = np.zeros((1, 1))
    for name in names:
        here = np.array([each == name for each in clusters])
        score = design[here].T @ residuals[here]
        meat += np.outer(score, score)
    variance = bread @ meat @ bread * len(names) / (len(names) - 1)
    return float(np.sqrt(variance[0, 0]))


def test_one_error_by_hand() -> None:
    """Differences 1, 0, 0, -1 and 1 of two clusters: residuals .8, -.2 | -.2, -1.2, .8."""
    clusters = ["a", "a", "b", "b", "b"]
    base = task("mmlu_pro", [0, 1, 0, 1, 0], "acc", clusters=clusters)
    path = task("mmlu_pro", [1, 1, 0, 0, 1], "acc", clusters=clusters)
    found = one_change([base], [path])
    assert found.raw.value == pytest.approx(20)
    assert found.raw.error == pytest.approx(100 * math.sqrt(2 * (0.6**2 + 0.6**2)) / 5)
    assert found.normalised.value == pytest.approx(20 / 0.9)
    assert found.normalised.error == pytest.approx(found.raw.error / 0.9)  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(5))
def test_errors_are_those_of_a_regression(seed: int) -> None:
    generator = np.random.default_rng(seed)
    answers, names = stories(generator, 30, 4)
    kept = generator.random(120) < 0.8  # clusters of unequal size
    answers, names = (
        answers[:, kept],
        [name for name, is_in in zip(names, kept, strict=True) if is_in],
    )
    base, path = (task("mmlu_pro", row, "acc", clusters=names) for row in answers)
    expected = 100 * least_squares_error(answers[1] - answers[0], names)
    assert one_change([base], [path]).raw.error == pytest.approx(expected)
    alone = figure_scores([path])[0].raw.error
    assert alone == pytest.approx(100 * least_squares_error(answers[1], names))


def test_errors_of_single_documents_are_those_of_a_mean() -> None:
    generator = np.random.default_rng(1)
    answers = (generator.random((2, 50)) < 0.5).astype(float)
    base, path = (task("mmlu_pro", row, "acc") for row in answers)
    differences = answers[1] - answers[0]
    expected = 100 * differences.std(ddof=1) / math.sqrt(50)
    assert one_change([base], [path]).raw.error == pytest.approx(expected)


def test_subtasks_are_strata() -> None:
    """Of the mean of two tasks: the root of the sum of their variances, by 2."""
    generator = np.random.default_rng(2)
    names, errors = ("bbh_navigate", "bbh_snarks"), []
    sides: list[list[TaskScore]] = [[], []]
    for name in names:
        answers = (generator.random((2, 40)) < 0.8).astype(float)
        for side, row in zip(sides, answers, strict=True):
            side.append(task(name, row, n_choices=2))
        differences = answers[1] - answers[0]
        errors.append(100 * differences.std(ddof=1) / math.sqrt(40) / 0.5)
    assert one_change(*sides).normalised.error == pytest.approx(math.hypot(*errors) / 2)


def test_questions_that_are_in_several_sets_are_one_cluster() -> None:
    """Twice the same questions: as sure as they are once."""
    generator = np.random.default_rng(3)
    answers = (generator.random((2, 60)) < 0.5).astype(float)
    names = [f"question {n}" for n in range(60)]
    once = [task("gpqa_main", row, clusters=names) for row in answers]
    twice = [
        [task(f"gpqa_{name}", row, clusters=names) for name in ("main", "extended")]
        for row in answers
    ]
    both = one_change(*twice)
    assert both.raw.error == pytest.approx(one_change(once[:1], once[1:]).raw.error)
    bbh = [
        [task(f"bbh_{name}", row, clusters=names, n_choices=2) for name in ("snarks", "navigate")]
        for row in answers
    ]
    apart = one_change(*bbh)
    assert apart.raw.error == pytest.approx(both.raw.error / math.sqrt(2)), "other tasks' are not"  # type: ignore[operator]


def test_ifeval_counts_the_instructions_of_a_prompt_together() -> None:
    """The errors of a ratio: compared with drawing whole prompts again, a thousand times."""
    generator = np.random.default_rng(4)
    given = generator.integers(1, 4, 300)
    sides = []
    for share in (0.5, 0.6):
        found = [tuple((generator.random(n) < share).astype(float)) for n in given]
        documents = tuple(
            document(
                n,
                {"prompt_level_strict_acc": (min(each),), "inst_level_strict_acc": each},
            )
            for n, each in enumerate(found)
        )
        sides.append(documents)

    def figure(side: int, numbers: npt.NDArray[np.int64]) -> float:
        drawn = [sides[side][n].values for n in numbers]
        prompts = [value for each in drawn for value in each["prompt_level_strict_acc"]]
        instructions = [value for each in drawn for value in each["inst_level_strict_acc"]]
        return 50 * (fmean(prompts) + fmean(instructions))

    draws = (generator.integers(0, 300, 300) for _ in range(1000))
    differences = [figure(1, draw) - figure(0, draw) for draw in draws]
    made = [[TaskScore("leaderboard_ifeval", "3.0", {}, side)] for side in sides]
    assert one_change(*made).raw.error == pytest.approx(np.std(differences), rel=0.08)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Stories of four placements, whose truth is known: 0 at 55 % and 45 %, so 10 points."""
    generator, n_covered, n_covered_without = np.random.default_rng(5), 0, 0
    for _ in range(600):
        answers, names = stories(generator, 64, 4)
        base, path = (task("mmlu_pro", row, "acc", clusters=names) for row in answers)
        found = one_change_without_p([base], [path])
        n_covered += abs(found.value - 10) <= 1.96 * (found.error or 0)
        differences = answers[1] - answers[0]
        error = 100 * differences.std(ddof=1) / math.sqrt(256)
        n_covered_without += abs(found.value - 10) <= 1.96 * error
    assert 0.92 < n_covered / 600 < 0.975
    assert n_covered_without / 600 < 0.85, "errors that ignore the stories are too small"


def one_change_without_p(base: list[TaskScore], path: list[TaskScore]) -> Estimate:
    """The raw change alone, which needs no draws of signs."""
    from ggufsurgeon.leaderboard.scores.figures import FIGURES, tasks_of
    from ggufsurgeon.leaderboard.scores.tables import document_table

    figure = next(each for each in FIGURES if tasks_of(each, base))
    tables = [document_table(figure, side) for side in (path, base)]
    own, other = (table.influence(table.raw_weights) for table in tables)
    return Estimate(tables[0].raw - tables[1].raw, tables[0].error(own - other))


@pytest.mark.parametrize(("share", "ratio"), [(0.5, 0.682), (0.8, 1.0)])
def test_normalised_errors_near_the_clamp(share: float, ratio: float) -> None:
    """24 tasks of two choices: at the bound the mean variance is told too high, as documented.

    There it is half the unclamped one, and the true one is 1/2 - 1/(2 pi) of it.
    """
    generator, found, errors = np.random.default_rng(6), [], []
    for _ in range(250):
        tasks = [
            task(f"bbh_{n}", list(generator.random(100) < share), n_choices=2) for n in range(24)
        ]
        (score,) = figure_scores(tasks)
        found.append(score.normalised.value)
        errors.append((score.normalised.error or 0) ** 2)
    assert np.var(found) / fmean(errors) == pytest.approx(ratio, rel=0.25)


def test_a_part_below_its_bound_moves_nothing() -> None:
    sides = [[task("bbh_snarks", [0] * 9 + [1] * n, n_choices=2)] for n in (1, 1)]
    sides[1] = [task("bbh_snarks", [0] * 8 + [1] * 2, n_choices=2)]
    found = one_change(*sides)
    assert found.raw.value == pytest.approx(10)
    assert found.normalised == Estimate(0.0, 0.0)


def test_few_differences_are_judged_by_their_signs() -> None:
    """Six questions answered better and none worse: 2 of 64 patterns of signs are as far off."""
    base = task("mmlu_pro", [0.0] * 250, "acc")
    path = task("mmlu_pro", [1.0] * 6 + [0.0] * 244, "acc")
    found = one_change([base], [path])
    assert found.p_value == pytest.approx(2 / 64, abs=0.01)
    assert found.is_sure
    other_way = one_change([path], [base])
    assert other_way.p_value == pytest.approx(found.p_value, abs=0.01)
    assert other_way.raw.value == -found.raw.value


def test_no_difference_is_no_finding() -> None:
    base = task("mmlu_pro", [0.0, 1.0] * 20, "acc")
    found = one_change([base], [base])
    assert (found.p_value, found.n_to_be_sure, found.is_sure) == (1.0, None, False)
    assert found.raw == Estimate(0.0, 0.0)


def test_several_paths_raise_the_bar_of_each() -> None:
    generator = np.random.default_rng(7)
    base, *others = (task("mmlu_pro", row, "acc") for row in generator.random((9, 400)) < 0.5)
    path = task("mmlu_pro", list(generator.random(400) < 0.58), "acc")
    alone = changes([base], [[path]])
    together = changes([base], [[path], *([other] for other in others)])
    assert together.bar is not None and alone.bar is not None
    assert together.bar > alone.bar >= 1.96
    assert together.of_paths[0][0].raw == alone.of_paths[0][0].raw
    assert together.of_paths[0][0].p_value > alone.of_paths[0][0].p_value
    needed = [found.of_paths[0][0].n_to_be_sure or 0 for found in (alone, together)]
    assert needed[1] / needed[0] == pytest.approx((together.bar / alone.bar) ** 2, rel=0.01)


def test_wrong_findings_among_all_figures_are_as_rare_as_is_said() -> None:
    """Two paths without an effect, on two benchmarks: one of four is a finding in 5 % of runs."""
    generator, n_found, n_runs = np.random.default_rng(8), 0, 300
    for _ in range(n_runs):
        rows = (generator.random((3, 2, 60)) < 0.5).astype(float)
        sides = [[task("mmlu_pro", a, "acc"), task("gpqa_main", b)] for a, b in rows]
        found = changes(sides[0], sides[1:])
        n_found += any(change.is_sure for path in found.of_paths for change in path)
    spread = math.sqrt(LEVEL * (1 - LEVEL) / n_runs)
    assert n_found / n_runs == pytest.approx(LEVEL, abs=3 * spread)


def test_documents_that_would_be_enough() -> None:
    """Three times the error is needed of a quarter of it: 1.96 / 0.5, squared, times as many."""
    assert documents_to_be_sure(Estimate(1.0, 2.0), 100, 1.96) == math.ceil(100 * 3.92**2)
    assert documents_to_be_sure(Estimate(-1.0, 2.0), 100, 1.96) == math.ceil(100 * 3.92**2)
    assert documents_to_be_sure(Estimate(0.0, 2.0), 100, 1.96) is None
    assert documents_to_be_sure(Estimate(1.0, None), 100, 1.96) is None


def test_one_cluster_has_no_error() -> None:
    base, path = (
        task("mmlu_pro", row, "acc", clusters=["a"] * 3) for row in ([0, 0, 1], [1, 1, 1])
    )
    found = one_change([base], [path])
    assert (found.raw.error, found.n_to_be_sure) == (None, None)
    assert not found.is_sure


@pytest.mark.parametrize(("n", "has_bar"), [(3, False), (5, False), (6, True)])
def test_no_bar_is_told_where_luck_can_make_all_documents_differ_alike(
    n: int, has_bar: bool
) -> None:
    """All n signs agree with probability 2 / 2**n: 6 % for five documents, 3 % for six."""
    base, path = (task("mmlu_pro", [value] * n, "acc") for value in (0.0, 1.0))
    found = changes([base], [[path]])
    (change,) = found.of_paths[0]
    assert (found.bar is not None, change.is_sure) == (has_bar, has_bar)
    assert change.raw.error == pytest.approx(0)
    assert change.n_to_be_sure is None


@pytest.mark.parametrize("field", ["document_sha256", "prompt_sha256", "target_sha256", "number"])
def test_other_documents_are_refused(field: str) -> None:
    base = task("mmlu_pro", [0, 1, 1], "acc")
    first = base.documents[0]
    other = first._replace(key=first.key._replace(**{field: "another"}))  # type: ignore[arg-type]
    path = base._replace(documents=(other, *base.documents[1:]))
    with pytest.raises(UsageError, match=r"leaderboard_mmlu_pro .* of different documents"):
        changes([base], [[path]])
    with pytest.raises(UsageError, match="different tasks"):
        changes([base], [[base._replace(version="0")]])
    with pytest.raises(UsageError, match="different tasks"):
        changes([base], [[]])


def test_figures_come_in_the_order_of_the_leaderboard() -> None:
    tasks = [
        task("mmlu_pro", [0, 1], "acc"),
        task("gpqa_main", [0, 1]),
        task("math_algebra", [0, 1], "exact_match", "exact_match_original"),
    ]
    (found,) = changes(tasks, [tasks]).of_paths
    assert [change.name for change in found] == ["math", "math-original", "gpqa", "mmlu-pro"]
    assert all(one != other for one, other in pairwise(found))
