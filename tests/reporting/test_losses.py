"""The picture of losses: what is drawn is what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.artist import getp
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ggufsurgeon.reporting.formats import FORMATS
from ggufsurgeon.reporting.loss_picture.differences import MOST_BARS
from ggufsurgeon.reporting.loss_picture.exponential_axis import exponential_ticks
from ggufsurgeon.reporting.loss_picture.picture import Side, draw_losses, loss_figure
from ggufsurgeon.reporting.style import BASE, BETTER, MODEL, WORSE, house_style
from tests.reporting.measured import against, losses, result

Points: TypeAlias = npt.NDArray[np.float64]
ODD_NAMES = [
    ("$x^2$ \\frac{1}{2} $", "a\nb\tc\x1b[31m", "\udc80\u202e模型 модель ﷽ 😀\ufe0f\U00101234"),
    ("deep/" * 5000, "w" * 100_000, ""),
]


def texts(figure: Figure) -> list[str]:
    """All that is written, but for the figures at the axes."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        titles = [axes.get_title("left"), axes.get_xlabel(), axes.get_ylabel()]
        found += titles + [text.get_text() for text in axes.texts]
    return found


def lines(axes: Axes, **style: object) -> list[Points]:
    """The points, [n, 2], of all lines of this kind."""
    return [
        np.asarray(line.get_xydata())
        for line in axes.lines
        if all(getp(line, name) == value for name, value in style.items())
    ]


def places_and_losses(axes: Axes, **style: object) -> Points:
    """Of the one line of this kind, [2, n]."""
    (found,) = lines(axes, **style)
    return np.transpose(found)


def test_the_losses_of_one_model_are_drawn() -> None:
    found = result(losses(50, 127))
    above, below = loss_figure("t", Side("m", found)).axes
    places, drawn = places_and_losses(above, color=MODEL.pale)
    assert places.tolist() == list(range(128, 255))
    assert drawn.tolist() == list(found.position_losses)
    places, drawn = places_and_losses(above, color=MODEL.colour)
    assert places.tolist() == list(range(128 + 6, 255 - 6))
    assert drawn[0] == pytest.approx(np.mean(found.position_losses[:13]))
    assert drawn[-1] == pytest.approx(np.mean(found.position_losses[-13:]))
    places, drawn = places_and_losses(below, color=MODEL.pale)
    assert places.tolist() == list(range(1, 51))
    assert drawn.tolist() == list(found.chunk_losses)
    for axes, values in ((above, found.position_losses), (below, found.chunk_losses)):
        low, high = axes.get_ylim()
        assert low < min(values) and high > max(values)


def test_few_losses_are_points() -> None:
    found = result(losses(3, 2))
    for axes, values in zip(
        loss_figure("t", Side("m", found)).axes,
        (found.position_losses, found.chunk_losses),
        strict=True,
    ):
        assert places_and_losses(axes, marker="o")[1].tolist() == list(values)


def test_the_losses_of_two_models_are_drawn() -> None:
    base = losses(9, 127)
    model = base + losses(9, 127, seed=1) - 3
    found, other = result(model), against(model, base)
    above, below = loss_figure("t", Side("m", found), other).axes
    assert places_and_losses(above, color=MODEL.pale)[1].tolist() == list(found.position_losses)
    assert places_and_losses(above, color=BASE.pale)[1].tolist() == list(
        other.base.result.position_losses
    )
    expected = np.subtract(found.chunk_losses, other.base.result.chunk_losses)
    bars = list(below.containers[0])
    assert [bar.get_height() for bar in bars] == expected.tolist()
    assert [bar.get_x() + bar.get_width() / 2 for bar in bars] == pytest.approx(range(1, 10))
    assert [same_color(bar.get_facecolor(), WORSE) for bar in bars] == (expected > 0).tolist()
    assert [same_color(bar.get_facecolor(), BETTER) for bar in bars] == (expected < 0).tolist()
    assert 0 < (expected > 0).sum() < 9
    low, high = below.get_ylim()
    assert low < min(0, *expected) and high > max(0, *expected)


@pytest.mark.parametrize(("seed", "larger"), [(1, "over chunks"), (3, "over tokens")])
def test_the_mean_and_its_error_are_drawn_and_told(seed: int, larger: str) -> None:
    base = losses(9, 127)
    model = base + losses(9, 127, seed=seed) - 2.9
    other = against(model, base)
    ln_ratio, over_chunks = other.comparison.ln_ratio, other.comparison.ln_ratio_error_over_chunks
    assert over_chunks is not None and ln_ratio.error is not None
    errors = {"over chunks": over_chunks, "over tokens": ln_ratio.error}
    error = errors[larger]
    assert error == max(errors.values())
    figure = loss_figure("t", Side("m", result(model)), other)
    below = figure.axes[1]
    assert set(places_and_losses(below, linestyle="--")[1]) == {ln_ratio.value}
    edges = {edge[0, 1] for edge in lines(below, linewidth=0.6)}
    assert edges == {ln_ratio.value - 2 * error, ln_ratio.value + 2 * error}
    (heading,) = [text for text in texts(figure) if "ratio)" in text]
    assert f"{ln_ratio.value:+.4f}"[:6] in heading and f"{error:.4f}"[:5] in heading
    told = f"{ln_ratio.error:.2g} if tokens were independent and {over_chunks:.2g} over 9 chunks"
    assert told in " ".join(texts(figure))


def test_many_chunks_are_dots() -> None:
    base = losses(MOST_BARS + 1, 16)
    model = base + losses(MOST_BARS + 1, 16, seed=1) - 3
    other = against(model, base)
    figure = loss_figure("t", Side("m", result(model)), other)
    (dots,) = [found for found in figure.axes[1].collections if isinstance(found, PathCollection)]
    expected = np.subtract(result(model).chunk_losses, other.base.result.chunk_losses)
    offsets = np.asarray(dots.get_offsets())
    assert offsets[:, 0].tolist() == list(range(1, MOST_BARS + 2))
    assert offsets[:, 1].tolist() == expected.tolist()
    n = len(expected)
    words = " ".join(texts(figure))
    assert f"worse than the base: {(expected > 0).sum()} of {n}" in words
    assert f"better than the base: {(expected < 0).sum()} of {n}" in words


def test_the_right_axis_is_the_exponential() -> None:
    for axes in loss_figure("t", Side("m", result(losses(50, 127)))).axes:
        (right,) = axes.child_axes
        labels = [label.get_text() for label in right.get_yticklabels()]
        assert dict(zip(right.get_yticks(), labels, strict=True)) == exponential_ticks(
            *axes.get_ylim()
        )


@pytest.mark.parametrize(
    ("n_chunks", "n_scored"), [(1, 127), (2, 50), (60, 2), (2000, 2), (2, 4096), (1, 1)]
)
def test_any_number_of_chunks_and_positions(n_chunks: int, n_scored: int) -> None:
    base = losses(n_chunks, n_scored)
    alone = Side("m", result(base, n_chunks_in_all=n_chunks + 1))
    assert draw_losses("png", "t", alone)
    if base.size >= 100:
        model = base + losses(n_chunks, n_scored, seed=1) / 10
        assert draw_losses("png", "t", Side("m", result(model)), against(model, base))


def test_a_run_that_was_broken_off_says_so() -> None:
    whole, part = result(losses(5, 9)), result(losses(5, 9), n_chunks_in_all=1200)
    assert "5 chunks; 20 tokens in each, 9 scored" in texts(loss_figure("t", Side("m", whole)))
    told = "partial: 5 of 1,200 chunks; 20 tokens in each, 9 scored"
    assert told in texts(loss_figure("t", Side("m", part)))


@pytest.mark.parametrize("scale", [0, 1e-15, 1e-7, 1e4, 1e37, 1e90])
def test_differences_of_any_size(scale: float) -> None:
    base = losses(7, 64)
    model = base + scale * losses(7, 64, seed=1)
    assert draw_losses("png", "t", Side("m", result(model)), against(model, base))


@pytest.mark.parametrize("n_infinite", [1, 3, 7])
def test_infinite_losses_are_gaps_that_are_told(n_infinite: int) -> None:
    base = losses(7, 64)
    model = base.copy()
    model[:n_infinite, 5] = np.inf
    side, other = Side("m", result(model)), against(model, base)
    assert draw_losses("png", "t", side, other)
    notes = " ".join(texts(loss_figure("t", side, other)))
    assert "; 1 infinite, not drawn" in notes
    assert f"; {n_infinite} infinite, not drawn" in notes


def test_losses_near_the_greatest_float_are_as_good_as_infinite() -> None:
    huge = replace(result(losses(50, 64)), chunk_losses=(1.7e308, -1.7e308, 4.0) * 20)
    figure = loss_figure("t", Side("m", huge))
    assert "; 40 infinite, not drawn" in " ".join(texts(figure))
    figure.draw_without_rendering()


@pytest.mark.parametrize(("title", "model", "base"), ODD_NAMES, ids=["characters", "lengths"])
@pytest.mark.parametrize("picture_format", FORMATS)
def test_any_name(title: str, model: str, base: str, picture_format: str) -> None:
    found = losses(7, 64)
    other = against(found, found, name=base)
    assert draw_losses(picture_format, title, Side(model, result(found)), other)


def test_names_are_shown_as_they_are_and_shortened_to_fit() -> None:
    base = losses(7, 64)
    long = "begin" + "/deep" * 100 + "end"
    other = against(base, base, name=long)
    figure = loss_figure("$a$ für ß", Side("a\nb模", result(base)), other)
    found = texts(figure)
    assert not any(text.get_parse_math() for text in figure.texts)
    assert "$a$ für ß" in found and "a\\nb\\u6a21" in found
    (short,) = [text for text in found if text.startswith("begin")]
    assert short.endswith("end") and "…" in short
    boxes = {text.get_text(): text.get_window_extent() for text in figure.texts}
    perplexity = next(box for text, box in boxes.items() if text.startswith("perplexity"))
    assert 0.7 * perplexity.x0 < boxes[short].x1 < perplexity.x0


def test_nothing_lies_over_anything() -> None:
    base = losses(12, 127)
    model = base + losses(12, 127, seed=1) - 2.9
    figure = loss_figure("t", Side("m", result(model)), against(model, base))
    with house_style():
        figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts]
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is not None
        boxes.append(box)
        assert_apart([text.get_window_extent() for text in written(axes)])
    assert_apart(boxes)
    below = figure.axes[1]
    words = [text.get_window_extent() for text in written(below) if "base" in text.get_text()]
    assert len(words) == 2
    for bar in below.containers[0]:
        assert not any(bar.get_window_extent().overlaps(word) for word in words)
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def written(axes: Axes) -> list[Text]:
    """The heading, the note, and words on the data."""
    return [child for child in axes.get_children() if isinstance(child, Text) and child.get_text()]


def assert_apart(boxes: list[Bbox]) -> None:
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_settings_of_the_user_are_of_no_account_and_stay() -> None:
    side = Side("m", result(losses(7, 64)))
    plain = draw_losses("png", "t", side)
    mine: dict[Any, Any] = {
        "font.size": 30.0,
        "text.usetex": True,
        "lines.linewidth": 9.0,
        "savefig.dpi": 20.0,
    }
    with matplotlib.rc_context(mine):
        assert draw_losses("png", "t", side) == plain
        assert {name: matplotlib.rcParams[name] for name in mine} == mine


def test_a_long_context_takes_little_space() -> None:
    base = losses(3, 4096)
    for picture_format in FORMATS:
        picture = draw_losses(picture_format, "t", Side("m", result(base)), against(base, base))
        assert len(picture) < 1_000_000
