"""The null of the maximum: its rate of wrong findings, and what it finds."""

from __future__ import annotations

from statistics import NormalDist, fmean, stdev

import numpy as np
import pytest

from ggufsurgeon.statistics.maximum import LEVEL, held_out_items, maximum_null, studentised

N_ITEMS, N_PATHS, N_SCANS = 30, 40, 400


def smallest_p_values(effect: float = 0.0) -> list[float]:
    """Of many scans; path 0 has an effect, in standard deviations.

    Paths are correlated as windows that share blocks are, and differ in scale a thousandfold.
    """
    generator = np.random.default_rng(5)
    near = np.exp(-np.abs(np.subtract.outer(np.arange(N_PATHS), np.arange(N_PATHS))) / 5)
    mix = np.linalg.cholesky(near + 1e-9 * np.eye(N_PATHS))
    scale = np.geomspace(1e-3, 1, N_PATHS)[:, np.newaxis]
    found = []
    for _ in range(N_SCANS):
        differences = mix @ generator.standard_normal((N_PATHS, N_ITEMS))
        differences[0] += effect
        found.append(float(maximum_null(differences * scale, n_draws=400).p_values.min()))
    return found


def test_wrong_findings_are_as_rare_as_is_claimed() -> None:
    rate = fmean(p <= LEVEL for p in smallest_p_values())
    spread = (LEVEL * (1 - LEVEL) / N_SCANS) ** 0.5
    assert LEVEL - 3 * spread < rate < LEVEL + 3 * spread


def test_a_planted_effect_is_found() -> None:
    """Of 0.9 standard deviations, 4.9 standard errors, in nine scans of ten."""
    assert fmean(p <= LEVEL for p in smallest_p_values(0.9)) > 0.9


@pytest.mark.parametrize("mean", [-0.5, 0.0, 0.2, 0.5])
def test_one_path_is_a_test_of_its_mean(mean: float) -> None:
    differences = np.random.default_rng(1).standard_normal(60) + mean
    z = fmean(differences) / (stdev(differences) / 60**0.5)
    found = maximum_null(differences[np.newaxis])
    assert found.z[0] == pytest.approx(z)
    assert found.p_values[0] == pytest.approx(1 - NormalDist().cdf(z), abs=0.02)


def test_step_down_is_between_one_step_and_single_tests() -> None:
    generator = np.random.default_rng(2)
    differences = generator.standard_normal((8, 50)) + np.linspace(0.6, 0, 8)[:, np.newaxis]
    together = maximum_null(differences)
    alone = [maximum_null(row[np.newaxis]).p_values[0] for row in differences]
    one_step = np.array([(1 + (together.maxima >= z).sum()) / 4001 for z in together.z])
    assert (together.p_values >= np.array(alone) - 0.02).all()
    assert (together.p_values <= one_step + 1e-12).all()
    assert (together.p_values < one_step - 0.01).any()
    order = np.argsort(-together.z)
    assert together.p_values[order[0]] == one_step[order[0]]
    assert (np.diff(together.p_values[order]) >= 0).all()


@pytest.mark.parametrize(("n_items", "n_better"), [(250, 6), (541, 5), (756, 7), (333, 9)])
def test_equal_differences_are_a_sign_test(n_items: int, n_better: int) -> None:
    """Where few items differ, all by the same, one sign pattern of 2**n reaches what is seen."""
    differences = np.zeros((1, n_items))
    differences[0, np.linspace(0, n_items - 1, n_better).astype(int)] = 100 / n_items
    exact = 2.0**-n_better
    spread = (exact / 4000) ** 0.5
    both = np.concatenate([differences, -differences])
    assert maximum_null(differences).p_values[0] == pytest.approx(exact, abs=4 * spread)
    assert maximum_null(both).p_values[0] == pytest.approx(2 * exact, abs=6 * spread)


def test_no_path_has_a_smaller_p_value_than_a_better_one() -> None:
    """Two paths that are equally good, on other items."""
    generator = np.random.default_rng(6)
    one = generator.standard_normal(40) + 0.3
    found = maximum_null(np.stack([one, generator.permutation(one)]))
    assert found.z[0] == pytest.approx(found.z[1])
    assert found.p_values[0] == pytest.approx(found.p_values[1])


def test_paths_that_are_equal_count_once() -> None:
    """The correlation of the data is in the null: a hundred copies of a path are one path."""
    one = np.random.default_rng(3).standard_normal((1, 40)) + 0.3
    single, copies = maximum_null(one), maximum_null(np.repeat(one, 100, axis=0))
    assert copies.luck_z == pytest.approx(single.luck_z)
    assert copies.p_values == pytest.approx(float(single.p_values[0]))
    others = np.random.default_rng(3).standard_normal((100, 40))
    assert maximum_null(others).luck_z > single.luck_z + 0.8


def test_paths_without_a_difference() -> None:
    nothing = np.zeros((3, 20))
    assert (studentised(nothing) == 0).all()
    assert (maximum_null(nothing).p_values == 1).all()
    constant = np.full((1, 20), 0.25)  # certain, as far as signs tell
    assert maximum_null(constant).p_values[0] < 0.001


def test_a_seed_is_repeatable() -> None:
    differences = np.random.default_rng(4).standard_normal((5, 20))
    first, again = maximum_null(differences, seed=1), maximum_null(differences, seed=1)
    assert (first.p_values == again.p_values).all()
    assert (first.maxima != maximum_null(differences, seed=2).maxima).any()


def test_too_few_items() -> None:
    with pytest.raises(ValueError, match="two items"):
        maximum_null(np.ones((3, 1)))


def test_held_out_items_are_a_share_drawn_by_the_seed() -> None:
    for n_items, share, expected in ((10, 0.5, 5), (11, 0.5, 6), (7, 0.3, 2), (4, 0.0, 0)):
        assert held_out_items(n_items, share).sum() == expected
    assert (held_out_items(64, 0.5, 1) != held_out_items(64, 0.5, 2)).any()
    assert (held_out_items(64, 0.5, 1) == held_out_items(64, 0.5, 1)).all()


def test_sets_of_items_are_combined_in_their_own_errors() -> None:
    """Two tests of the same mean, whatever their units: z grows by the square root of two."""
    generator = np.random.default_rng(3)
    one = generator.standard_normal((1, 50)) + 0.4
    both = maximum_null(one, 1000 * one)
    alone = maximum_null(one)
    assert both.z[0] == pytest.approx(alone.z[0] * 2**0.5)
    assert both.p_values[0] < alone.p_values[0]


def test_wrong_findings_by_several_sets_are_as_rare_as_is_claimed() -> None:
    generator = np.random.default_rng(4)
    found = []
    for _ in range(N_SCANS):
        shared = generator.standard_normal((1, N_ITEMS))
        sets = [generator.standard_normal((10, N_ITEMS)) + shared, generator.standard_t(5, (10, 9))]
        found.append(maximum_null(*sets, n_draws=400).p_values.min() <= LEVEL)
    spread = (LEVEL * (1 - LEVEL) / N_SCANS) ** 0.5
    assert LEVEL - 3 * spread < fmean(found) < LEVEL + 3 * spread
