"""The null of a search: how often it is wrong, whatever it tries, and what it finds."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from ggufsurgeon.scanning.search.judging import judge_search
from ggufsurgeon.scanning.search.limits import SearchLimits
from ggufsurgeon.statistics.maximum import LEVEL, maximum_null
from tests.scanning.searching import ITEMS, LIMITS, N_ITEMS, World, run_search

N_SEARCHES = 300
SPREAD = 3 * (LEVEL * (1 - LEVEL) / N_SEARCHES) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("interaction", [0.0, 1.0])
def test_wrong_verdicts_are_as_rare_as_is_claimed(interaction: float) -> None:
    """Whether effects add up or not: the held-out items had no part in the search."""
    found = [
        judge_search(run_search(World(seed, interaction, 0.0)).data, n_replays=1)
        for seed in range(N_SEARCHES)
    ]
    assert fmean(one.is_better for one in found) <= LEVEL + SPREAD
    assert all(one.best and "p = " in one.verdict for one in found)


def test_a_test_of_all_tried_paths_on_the_search_items_would_be_wrong() -> None:
    """What a search runs depends on the scores so far: their maximum is no maximum of a scan."""
    course = ITEMS.course(N_ITEMS)
    p_values = []
    for seed in range(100):
        data = run_search(World(seed, 1.0, 0.0)).data
        rows = [[found[item] for item in range(course.n_search)] for found in data.scores.values()]
        p_values.append(float(maximum_null(np.array(rows), n_draws=400).p_values.min()))
    assert fmean(p <= LEVEL for p in p_values) > 2 * LEVEL


@pytest.mark.slow
def test_replays_reach_as_far_as_searches_without_effects() -> None:
    """Where effects add up, as replays assume."""
    limits = SearchLimits(max_blocks=4, beam=2, max_paths=20)
    p_values = []
    for seed in range(100):
        luck = judge_search(run_search(World(seed, 0.0, 0.0), limits).data, n_replays=39).luck
        assert luck is not None
        p_values.append(luck.p_value)
    assert fmean(p <= LEVEL for p in p_values) <= LEVEL + 3 * (LEVEL * (1 - LEVEL) / 100) ** 0.5
    assert 0.3 < fmean(p_values) < 0.7


@pytest.mark.slow
def test_a_planted_effect_is_found() -> None:
    """A block whose repeats gain 1.5 standard deviations of an item."""
    found = [
        judge_search(run_search(World(seed, 0.2, 1.5)).data, n_replays=39) for seed in range(30)
    ]
    assert fmean(one.is_better for one in found) > 0.9
    assert fmean((one.luck.p_value if one.luck else 1) <= LEVEL for one in found) > 0.5


def test_a_search_is_gone_through_again_as_it_was_made() -> None:
    searched = run_search(World(3, 0.5, 0.5))
    found = judge_search(searched.data, n_replays=1)
    assert sorted(path.score for path in found.tried) == sorted(searched.tried.values())
    assert len(found.tried) <= LIMITS.max_paths
    assert [one.path.cost.n_blocks for one in found.best] == [1, 2, 3, 4]
    for one in found.best:
        same = [path for path in found.tried if path.cost.n_blocks == one.path.cost.n_blocks]
        assert one.path.score == max(path.score for path in same)
        shorter = [path for path in found.tried if path.cost.n_blocks < one.path.cost.n_blocks]
        is_best = one.path.score > max([0.0, *(path.score for path in shorter)])
        assert one.is_on_front == is_best


def test_a_search_that_is_not_over_has_no_verdict() -> None:
    data = run_search(World(3, 0.5, 0.5)).data
    course = ITEMS.course(N_ITEMS)
    (*_, last) = data.scores
    without_last = {name: found for name, found in data.scores.items() if name != last}
    only_search = {
        name: {item: score for item, score in found.items() if item < course.n_search}
        for name, found in data.scores.items()
    }
    for scores in (without_last, only_search, {}):
        found = judge_search(data._replace(scores=scores))
        assert not found.is_better and found.verdict == "No verdict: the search is not over."
        assert found.luck is None
