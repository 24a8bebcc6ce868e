"""The rule of bands and its null: planted bands are found, noise and slopes are not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ggufsurgeon.anatomy.bands import Bands, find_bands

N_CONTENTS, N_BLOCKS = 16, 24


def noise(seed: int, size: float = 0.1) -> npt.NDArray[np.float64]:
    """Curves that wander, as neighbouring blocks are alike."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(0, size, (N_CONTENTS, N_BLOCKS))
    scale = np.sqrt(np.arange(1, N_BLOCKS + 1))
    return np.asarray(np.cumsum(steps, axis=1) / scale, dtype=np.float64)


def planted(first: int, end: int, height: float) -> npt.NDArray[np.float64]:
    blocks = np.arange(N_BLOCKS)
    return np.asarray(height * ((blocks >= first) & (blocks < end)), dtype=np.float64)


@pytest.mark.parametrize(("first", "end"), [(6, 18), (1, 23), (10, 12), (3, 9)])
def test_planted_bands_are_found_where_they_are(first: int, end: int) -> None:
    found = find_bands(noise(first) + planted(first, end, 0.5), 0)
    assert found is not None and found.is_found
    assert (found.first, found.end) == (first, end)
    assert found.first_interval[0] <= first <= found.first_interval[1]
    assert found.end_interval[0] <= end <= found.end_interval[1]
    assert found.contrast_interval[0] <= found.contrast <= found.contrast_interval[1]
    assert found.contrast == pytest.approx(0.5, abs=0.15)


def test_the_contrast_by_hand() -> None:
    curves = np.array([[0.0, 3.0, 3.0, 1.0], [0.2, 3.0, 3.4, 1.0], [0.1, 3.1, 3.1, 1.3]])
    found = find_bands(curves, 0)
    assert found is not None and (found.first, found.end) == (1, 3)
    assert found.contrast == pytest.approx((18.6 / 6) - 1.1)  # the right side is the nearer one
    differences = np.array([3 - 1.0, 3.2 - 1.0, 3.1 - 1.3])
    left = np.array([3 - 0.0, 3.2 - 0.2, 3.1 - 0.1])
    z = [each.mean() / (each.std(ddof=1) / 3**0.5) for each in (differences, left) if each.std()]
    assert found.z == pytest.approx(min(z))


def test_noise_has_bands_as_rarely_as_the_level_says() -> None:
    found = [find_bands(noise(seed), seed) for seed in range(24)]
    n_found = sum(each is not None and each.is_found for each in found)
    assert n_found <= 5  # 1.2 are expected at most; more than 5 have a probability of 0.1 %


@pytest.mark.parametrize("sign", [1, -1])
def test_what_only_rises_or_falls_has_no_bands(sign: int) -> None:
    slope = sign * np.linspace(0, 3, N_BLOCKS)
    found = [find_bands(noise(seed) + slope, seed) for seed in range(20)]
    assert sum(each is not None and each.is_found for each in found) <= 2
    assert find_bands(np.tile(slope, (8, 1)), 0) is None


@pytest.mark.parametrize(("first", "end"), [(12, N_BLOCKS), (0, 12)])
def test_what_rises_and_stays_has_no_bands(first: int, end: int) -> None:
    """One contrast is large and the other is luck: both must be more than that."""
    found = [find_bands(noise(seed) + planted(first, end, 1.0), seed) for seed in range(16)]
    assert sum(each is not None and each.is_found for each in found) <= 3


def test_a_valley_is_no_band() -> None:
    found = [find_bands(noise(seed) - planted(8, 16, 1.0), seed) for seed in range(10)]
    assert not any(each is not None and each.is_found for each in found)


def test_a_constant_changes_nothing() -> None:
    curves = noise(4) + planted(6, 18, 0.3)
    shifted = curves + np.random.default_rng(0).normal(0, 9, (N_CONTENTS, 1))
    one, other = find_bands(curves, 0), find_bands(shifted, 0)
    assert isinstance(one, Bands) and isinstance(other, Bands)
    assert (one.first, one.end, one.p_value) == (other.first, other.end, other.p_value)
    assert one.z == pytest.approx(other.z)


@pytest.mark.parametrize("shape", [(16, 2), (1, 24), (16, 1)])
def test_too_few_blocks_or_contents(shape: tuple[int, int]) -> None:
    assert find_bands(np.random.default_rng(0).normal(0, 1, shape), 0) is None
