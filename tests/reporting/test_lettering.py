"""Names and figures as they are written in pictures."""

from __future__ import annotations

import math

import pytest

from ggufsurgeon.reporting.lettering import LONGEST, MINUS, with_error, writable


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (30.36094, 2.14994, "30.36 ± 2.15"),
        (198791.441, 4735.6, "198791 ± 4736"),
        (0.000003096, 1.8e-7, "0.000003096 ± 0.000000180"),
        (20.0855, 0.0, "20.0855 ± 0.0000"),
        (1e30, 1e28, "1e+30 ± 1e+28"),
        (5.0, 1e28, "5 ± 1e+28"),
        (math.inf, math.nan, "inf ± nan"),
        (5.0, math.nan, "5 ± nan"),
    ],
)
def test_figures_have_three_digits_of_their_error(value: float, error: float, text: str) -> None:
    assert with_error(value, error) == text


def test_a_difference_shows_its_sign() -> None:
    assert with_error(0.210582, 0.017381, sign="+") == "+0.2106 ± 0.0174"
    assert with_error(-0.210582, 0.017381, sign="+") == f"{MINUS}0.2106 ± 0.0174"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("$x$ für Модель", "$x$ für Модель"),
        ("a\nb\t\x1b[31m", "a\\nb\\t\\x1b[31m"),
        ("\udc80\u202e模\U00101234", "\\udc80\\u202e\\u6a21\\U00101234"),
    ],
)
def test_what_the_font_lacks_is_escaped(name: str, text: str) -> None:
    assert writable(name) == text


def test_what_nobody_reads_is_left_out() -> None:
    text = writable("a" * 50_000 + "b" * 50_000)
    assert len(text) == LONGEST and text.strip("ab") == "…"
