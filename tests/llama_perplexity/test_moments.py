"""Means and errors, beside the formulas, and their rounding."""

from __future__ import annotations

import numpy as np
import pytest

from ggufsurgeon.llama_perplexity.moments import covariance, moments


def test_errors_and_covariances_are_those_of_means() -> None:
    one, other = np.random.default_rng(0).normal(2, 1, (2, 500))
    other += one
    found = moments(one)
    assert found.value == pytest.approx(one.mean())
    assert found.error == pytest.approx(one.std(ddof=1) / 500**0.5)
    assert covariance(one, other) == pytest.approx(np.cov(one, other)[0, 1] / 500)


@pytest.mark.parametrize("of", [1.3, 1.6])
def test_squares_and_products_of_32_bits_are_rounded_and_sums_are_not(of: float) -> None:
    """Equal values have a variance that is all rounding, up or down; llama-perplexity cuts at 0."""
    values = np.full(1001, of, dtype=np.float32)
    value = float(values[0])
    excess = float(values[0] * values[0]) - value**2
    assert covariance(values, values) == pytest.approx(excess / 1000, rel=1e-6) != 0
    assert moments(values).error ** 2 == pytest.approx(max(excess, 0) / 1000, rel=1e-6)
    assert moments(values).value == pytest.approx(value, rel=1e-15)
