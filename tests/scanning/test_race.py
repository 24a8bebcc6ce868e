"""Races that are simulated: they find what a whole scan finds, for less, and are not fooled."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.racing.judging import judge_race
from ggufsurgeon.scanning.racing.race import LEAST_ITEMS_OF_Z, Race, current_round, strengths
from ggufsurgeon.scanning.verdicts.findings import ProbeFindings
from ggufsurgeon.scanning.verdicts.judging import ProbeData
from ggufsurgeon.statistics.maximum import held_out_items
from ggufsurgeon.store.scan_scores import ScannedPath
from tests.scanning.racing import (
    Scores,
    default_course,
    overlapping,
    run_race,
    search_winner,
    window_paths,
)

MANY_BLOCKS, FEW_BLOCKS = 29, 7
"""They have 435 and 28 windows."""


def judged(scores: Scores, n_items: int, n_blocks: int = FEW_BLOCKS) -> ProbeFindings:
    labels = [f"item {n}" for n in range(n_items)]
    paths = [ScannedPath(path, "", "", 1, 100, 50) for path in window_paths(n_blocks)]
    return judge_race(ProbeData("text-race", "nats", labels, scores), paths, n_blocks, Race())


races = st.builds(
    Race, st.floats(0.1, 0.9), st.integers(0, 99), st.integers(1, 20), st.integers(1, 9)
)


@given(races, st.integers(20, 400), st.integers(1, 500))
def test_the_course_of_a_race(race: Race, n_items: int, n_paths: int) -> None:
    """Each item is in one round; those that the same split holds out are the last round."""
    course = race.course(n_items)
    assert sorted(course.numbers) == list(range(n_items))
    assert [n for items in course.rounds for n in items] == list(range(n_items))
    held_out = held_out_items(n_items, race.held_out, race.seed)
    assert [held_out[n] for n in course.numbers] == [n >= course.n_search for n in range(n_items)]
    assert course.rounds[-1] == range(course.n_search, n_items)
    ends = [items.stop for items in course.rounds[:-1]]
    assert ends[0] == min(race.n_first, course.n_search)
    assert all(b == min(2 * a, course.n_search) for a, b in pairwise(ends))
    n_in_rounds = course.n_paths_in_rounds(n_paths)
    assert n_in_rounds[0] == n_paths and n_in_rounds[-1] == min(n_paths, race.n_finalists)
    for now, then in pairwise(n_in_rounds[:-1]):
        assert then == min(now, max(race.n_finalists, math.ceil(now / 2)))


def test_the_order_of_the_search_is_drawn() -> None:
    first, second = Race(seed=1).course(40).numbers, Race(seed=2).course(40).numbers
    assert first == Race(seed=1).course(40).numbers != second
    assert list(first[:20]) != sorted(first[:20])


@pytest.mark.parametrize("race", [{"n_first": 0}, {"n_finalists": 0}])
def test_what_is_no_race(race: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="above 0"):
        Race(**race)


def test_settings_come_back() -> None:
    race = Race(0.3, 5, 2, 9)
    assert Race.of_settings({"answers": [1], **race.settings()}) == race
    assert Race.of_settings({"answers": [1]}) is None


@pytest.mark.parametrize("n_items", [64, 100, 256])
def test_a_race_has_a_fifth_of_the_passes_of_a_scan(n_items: int) -> None:
    course = default_course(n_items)
    raced = run_race(course, MANY_BLOCKS, overlapping(MANY_BLOCKS, n_items, 0.0, 0))
    assert raced.n_item_passes == course.n_item_passes(435)
    assert 5 * raced.n_item_passes <= 436 * n_items
    assert len(raced.finalists) == 4


def test_a_race_finds_the_window_that_a_scan_finds() -> None:
    """The same winner by the same search items in most races, and found better by the others."""
    n_same, n_better, n_races, planted = 0, 0, 60, 200
    for seed in range(n_races):
        every = overlapping(MANY_BLOCKS, 64, 1.0, seed, planted)
        course = default_course(64)
        raced = run_race(course, MANY_BLOCKS, every)
        told = judged(raced.scores, 64, MANY_BLOCKS)
        n_same += told.paths[0].layer_path == search_winner(every, course, MANY_BLOCKS)
        n_better += told.is_better
        assert told.paths[0].layer_path in raced.finalists
    assert n_same >= 0.8 * n_races
    assert n_better >= 0.9 * n_races


def test_wrong_verdicts_are_rare() -> None:
    """In at most 5 % of races without effects, and 3 standard errors of so many races."""
    n_races, n_items = 400, 32
    n_wrong = 0
    for seed in range(n_races):
        raced = run_race(default_course(n_items), 7, overlapping(7, n_items, 0.0, seed))
        n_wrong += judged(raced.scores, n_items).is_better
    assert n_wrong <= 0.05 * n_races + 3 * math.sqrt(0.05 * 0.95 * n_races)


def test_the_winner_is_judged_by_items_that_the_race_did_not_see() -> None:
    """An effect on the search items alone wins the race, and is not believed."""
    every = overlapping(FEW_BLOCKS, 40, 0.0, 3)
    favourite = window_paths(FEW_BLOCKS)[11]
    for item in range(20):
        every[favourite][item] += 50.0
    told = judged(run_race(default_course(40), FEW_BLOCKS, every).scores, 40)
    assert told.paths[0].layer_path == favourite and not told.is_better
    assert told.verdict.startswith("Noise") and "held-out" in told.verdict


def test_a_race_goes_on_from_any_scores_that_it_has() -> None:
    """What is decided follows from the scores of finished rounds, in whatever order they came."""
    every, course = overlapping(FEW_BLOCKS, 40, 0.5, 1), default_course(40)
    base, paths = str(LayerPath.identity(FEW_BLOCKS)), window_paths(FEW_BLOCKS)
    whole = run_race(course, FEW_BLOCKS, every)
    known: Scores = {}
    generator = np.random.default_rng(0)
    while (now := current_round(course, paths, base, known)).items:
        missing = [
            (path, item)
            for path in (base, *now.paths)
            for item in now.items
            if item not in known.get(path, {})
        ]
        path, item = missing[generator.integers(len(missing))]
        known.setdefault(path, {})[item] = every[path][item]
    assert known == whole.scores and now.paths == whole.finalists


def test_a_path_without_numbers_leaves_first() -> None:
    every, course = overlapping(FEW_BLOCKS, 40, 0.0, 1), default_course(40)
    paths = window_paths(FEW_BLOCKS)
    every[paths[5]][1] = math.nan
    every[paths[6]][2] = -math.inf
    raced = run_race(course, FEW_BLOCKS, every)
    assert {len(raced.scores[path]) for path in paths[5:7]} == {4}
    told = {path.layer_path: path for path in judged(raced.scores, 40).paths}
    assert {told[path].problem for path in paths[5:7]} == {"its scores are not finite numbers"}


def test_an_item_without_a_number_of_the_unmodified_model_is_left_out() -> None:
    every, course = overlapping(FEW_BLOCKS, 40, 0.0, 1), default_course(40)
    every[str(LayerPath.identity(FEW_BLOCKS))][2] = math.nan
    told = judged(run_race(course, FEW_BLOCKS, every).scores, 40)
    assert len(told.item_labels) == 39 and told.paths[0].z is not None
    assert "item 2" not in told.item_labels


def test_means_of_few_items_and_errors_of_more() -> None:
    rough = np.array([[1.0, 1.0, 1.1, 0.9], [9.0, 0.0, 0.1, 5.0], [0.0, 0.0, 0.0, math.nan]])
    assert strengths(rough).tolist() == [1.0, pytest.approx(3.525), -math.inf]
    more = np.tile(rough, (1, LEAST_ITEMS_OF_Z // 4))
    assert strengths(more)[0] > strengths(more)[1] > 0 > strengths(more)[2]
    assert strengths(np.empty((2, 0))).tolist() == [0.0, 0.0]


def test_what_a_report_tells_of_a_race() -> None:
    every, course = overlapping(FEW_BLOCKS, 40, 0.0, 1), default_course(40)
    told = judged(run_race(course, FEW_BLOCKS, every).scores, 40)
    assert told.is_race and math.isnan(told.luck_z)
    assert sum(told.is_held_out) == 20 and not any(told.is_held_out[:20])
    by_items = [len(path.differences) for path in told.paths]
    assert by_items[:4] == [40] * 4 and set(by_items[4:]) == {4, 8, 16}
    for path in told.paths:
        items = range(len(path.differences))
        expected = [every[path.layer_path][n] - told.item_bases[n] for n in items]
        assert path.differences == pytest.approx(expected) and path.p_value is None
        assert path.search is not None
        assert path.search.value == pytest.approx(np.mean(path.differences[:20]))
        n_search = min(len(items), 20)
        assert (path.z is None) == (n_search < 20)
        text = f"left the race after {n_search} of 20 search items"
        assert path.left_race == ("" if n_search == 20 else text)
        assert (path.held_out is None) == (len(items) <= 20)


@pytest.mark.parametrize(("n_rounds", "says"), [(0, "No path is scored"), (2, "is not over")])
def test_a_race_that_is_not_over_has_no_verdict(n_rounds: int, says: str) -> None:
    every, course = overlapping(FEW_BLOCKS, 40, 3.0, 1), default_course(40)
    end = course.rounds[n_rounds].start
    raced = run_race(course, FEW_BLOCKS, every).scores
    known = {
        path: {n: score for n, score in of_path.items() if n < end}
        for path, of_path in raced.items()
    }
    told = judged(known, 40)
    assert says in told.verdict and not told.is_better
    assert all("left" not in path.left_race for path in told.paths)


def test_finalists_without_all_held_out_items_have_no_verdict() -> None:
    every, course = overlapping(FEW_BLOCKS, 40, 3.0, 1), default_course(40)
    raced = run_race(course, FEW_BLOCKS, every)
    winner = judged(raced.scores, 40).paths[0].layer_path
    del raced.scores[winner][39]
    told = judged(raced.scores, 40)
    assert told.paths[0].layer_path == winner
    assert "not over" in told.verdict and not told.is_better
