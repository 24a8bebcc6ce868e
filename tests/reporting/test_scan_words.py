"""Figures of a scan as they are written, and the scales that they are drawn on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ggufsurgeon.reporting.lettering import MINUS
from ggufsurgeon.reporting.scan_findings.diverging import N_STEPS, scale_for, step_colours
from ggufsurgeon.reporting.scan_findings.spans import Span, span_of, span_of_most
from ggufsurgeon.reporting.scan_findings.words import (
    bytes_more,
    count_text,
    estimate_text,
    luck_text,
    p_text,
    verdict_text,
    z_text,
)
from ggufsurgeon.statistics.estimate import Estimate
from tests.reporting.scanned import scan


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


def test_a_z_without_bound_is_cut() -> None:
    assert [z_text(z) for z in (3316624.79, -3e6, 999.5, math.inf)] == [
        "> 1000",
        f"< {MINUS}1000",
        "+999.50",
        "> 1000",
    ]
    assert (luck_text(2.345), luck_text(1e6)) == ("2.35", "> 1000")


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ("0..1,3..4 is better: p.", "drop 2:3 (0..1,3..4) is better: p."),
        (
            "Noise: the best path, 0..1,3..4, is not",
            "Noise: the best path, drop 2:3 (0..1,3..4), is not",
        ),
        ("drop 2:3 (0..1,3..4) is better: p.", "drop 2:3 (0..1,3..4) is better: p."),
        ("No path is scored yet.", "No path is scored yet."),
    ],
)
def test_the_verdict_names_the_path_as_the_ranking_does(verdict: str, told: str) -> None:
    (probe,) = scan(5, 12).probes
    path = replace(probe.paths[0], kind="drop", first=2, end=3, layer_path="0..1,3..4")
    assert verdict_text(replace(probe, paths=(path,), verdict=verdict)) == told
    assert verdict_text(replace(probe, paths=(), verdict=verdict)) == verdict


def test_a_count_that_equals_a_path_is_no_path() -> None:
    (probe,) = scan(5, 12).probes
    path = replace(probe.paths[0], kind="drop", first=1, end=5, layer_path="0")
    few = "No verdict: 10 items that choose the best path and 0 that judge it are too few."
    assert verdict_text(replace(probe, paths=(path,), verdict=few)) == few
    better = replace(probe, paths=(path,), verdict="0 is better: p = 0.01.")
    assert verdict_text(better) == "drop 1:5 (0) is better: p = 0.01."


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
