"""The scale on the right: ticks at round values of exp."""

from __future__ import annotations

import numpy as np
import pytest

from ggufsurgeon.reporting.loss_picture.exponential_axis import exponential_ticks


@pytest.mark.parametrize("low", [-3, 0, 1, 3.3, 14, 300])
@pytest.mark.parametrize("width", [1e-4, 0.07, 1, 2.2, 2.4, 5, 9, 40, 300])
def test_exponential_ticks_say_where_they_are(low: float, width: float) -> None:
    ticks = exponential_ticks(low, low + width)
    assert all(low <= place <= low + width for place in ticks)
    values = [float(text.replace(",", "")) for text in ticks.values()]
    assert np.exp(list(ticks)) == pytest.approx(values, rel=1e-9)
    assert len(set(values)) == len(values) <= 10
    assert len(values) >= 2 or (low > 12 and width < 3)


def test_there_are_no_exponential_ticks_beyond_floats() -> None:
    assert exponential_ticks(0, 1e30) == {}
    assert exponential_ticks(-1e99, 1e99) == {}
