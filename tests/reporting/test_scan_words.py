"""Figures of a scan as they are written, and the scales that they are drawn on."""

from __future__ import annotations

import math

import pytest

from ggufsurgeon.reporting.diverging import N_STEPS, scale_for, step_colours
from ggufsurgeon.reporting.scan_words import bytes_more, count_text, estimate_text, p_text, z_text
from ggufsurgeon.reporting.spans import Span, span_of, span_of_most
from ggufsurgeon.statistics.estimate import Estimate


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (None, "–"),  # noqa: RUF001
        (0, "0 B"),
        (-999, "−999 B"),  # noqa: RUF001
        (1_634_000_000, "+1.63 GB"),
        (-88_000_000, "−88.0 MB"),  # noqa: RUF001
        (350_400_000, "+350 MB"),
        (1_234_000_000_000, "+1234 GB"),
    ],
)
def test_bytes_have_three_digits_and_a_sign(n_bytes: int | None, text: str) -> None:
    assert bytes_more(n_bytes) == text


def test_figures_that_are_missing_are_dashes() -> None:
    assert {estimate_text(None), z_text(None), p_text(None)} == {bytes_more(None)}
    assert estimate_text(Estimate(0.25, None)) == "+0.25"
    assert (count_text(3), count_text(0)) == ("+3", "0")
    assert [p_text(p) for p in (0.0, 0.00012, 0.0234, 1.0)] == ["< 0.0001", "0.00012", "0.023", "1"]


def test_the_scale_is_symmetric_and_outliers_do_not_move_it() -> None:
    values = [k / 100 for k in range(1, 101)]
    scale = scale_for([*values, math.nan])
    assert (scale.limit, scale.n_beyond) == (0.75, 25)
    assert scale_for([*values[:90], *[-1e9] * 10]).limit == 0.75
    for value in values:
        assert scale.step(-value) == -scale.step(value)
    assert scale.step(0.75) == scale.step(1e30) == N_STEPS and scale.step(0.0) == 0
    for below, boundary in enumerate(scale.boundaries(), -N_STEPS):
        assert scale.step(boundary * (1 - math.copysign(1e-9, boundary))) == below
        assert scale.step(boundary * (1 + math.copysign(1e-9, boundary))) == below + 1


@pytest.mark.parametrize("values", [[], [0.0], [math.inf], [1e-300], [0.0, 0.0, 0.0, 0.0, 5.0]])
def test_any_values_have_a_scale(values: list[float]) -> None:
    scale = scale_for(values)
    assert scale.limit > 0 and scale.step(0.0) == 0


def test_colours_go_from_end_to_end() -> None:
    colours = step_colours("#D55E00", "#F0F0EE", "#0072B2")
    assert list(colours) == list(range(-N_STEPS, N_STEPS + 1))
    assert [colours[k] for k in (-N_STEPS, 0, N_STEPS)] == ["#D55E00", "#F0F0EE", "#0072B2"]
    assert len(set(colours.values())) == len(colours)


@pytest.mark.parametrize("scale", [1e-9, 0.03, 1, 7, 1e6, 1e200])
def test_ticks_are_round_values_within(scale: float) -> None:
    span = Span(-0.31 * scale, 1.7 * scale)
    ticks = span.ticks(5)
    assert 2 <= len(ticks) <= 6 and all(span.holds(value) for value in ticks)
    assert 0.0 in ticks and ticks[0.0] == "0"
    for value, text in ticks.items():
        written = float(text.replace("\N{MINUS SIGN}", "-"))
        assert written == pytest.approx(value, rel=1e-9)


def test_an_axis_ends_short_of_what_ruins_a_model() -> None:
    usual = [(-0.2, 0.1)] * 9
    wide = span_of_most([*usual, (-9.0, -8.0)])
    assert wide == span_of_most(usual) and wide.holds(-0.2) and not wide.holds(-8.0)
    assert span_of_most([(-9.0, -8.0), *usual], n_kept=1).holds(-9.0)
    assert span_of([]).share(0.0) == 0.5
