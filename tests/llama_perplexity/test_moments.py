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


def test_squares_and_products_of_32_bits_are_rounded_and_sums_are_not() -> None:
    """1.1**2 is rounded to 32 bits, of which a thousand and one add up exactly."""
    values = np.full(1001, 1.1, dtype=np.float32)
    value = float(values[0])
    rounded = float(np.float32(value * value))
    assert rounded != value * value
    assert covariance(values, values) == pytest.approx((rounded - value**2) / 1000, rel=1e-6)
    assert moments(values).error ** 2 == pytest.approx(max(rounded - value**2, 0) / 1000, rel=1e-6)
    assert moments(values).value == pytest.approx(value, rel=1e-15)
