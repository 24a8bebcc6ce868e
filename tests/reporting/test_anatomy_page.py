"""The page of an anatomy: its figures are there, and nothing in it acts but the scan's script."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ggufsurgeon.anatomy.bands import Bands
from ggufsurgeon.anatomy.contents import CLOTHES
from ggufsurgeon.anatomy.findings import AnatomyFindings, BlockFinding, LensFinding
from ggufsurgeon.anatomy.pairs import PairReading, PromptPair
from ggufsurgeon.anatomy.prediction import Prediction
from ggufsurgeon.anatomy.similarity import GROUPS, Curve, Similarity
from ggufsurgeon.reporting.anatomy_page.page import anatomy_page
from ggufsurgeon.reporting.anatomy_page.patching_map import step_of
from ggufsurgeon.reporting.anatomy_page.words import (
    carriers,
    pair_text,
    prediction_text,
    verdicts,
)
from ggufsurgeon.statistics.estimate import Estimate
from tests.reporting.markup import Page
from tests.reporting.scanned import HOSTILE, scan

N_BLOCKS = 6
ONE = Estimate(1.0, 0.1)
BANDS = Bands(2, 4, (1, 2), (4, 5), 0.3, (0.2, 0.4), 5.0, 0.001)
RECOVERY = np.array(
    [
        [0, 1, 0, 0],
        [0, 1, 0.1, 0],
        [0, 0.9, 0, 0.2],
        [0, 0.4, np.nan, 0.7],
        [0, 0, 0, 0.9],
        [0, 0, 0, 1],
    ]
)
READING = PairReading(
    PromptPair("a b c d", "a x c d", " e", " f"),
    "",
    ("a", "b/x", "c", "d"),
    (1,),
    3.0,
    -2.0,
    RECOVERY,
)
LEFT_OUT = PairReading(PromptPair("g", "h i", " e", " f"), "the clean prompt has 1 token")
PREDICTION = Prediction("text 0", 78, 4, 0.4, (0.1, 0.6), 0.04, 12, 0.2)


def curve(middle: float) -> Curve:
    values = tuple([0.1, 0.1, 0.1, middle, middle, 0.1, 0.1])
    low, high = (tuple(each + side for each in values) for side in (-0.05, 0.05))
    return Curve(values, low, high)


def anatomy() -> AnatomyFindings:
    similar = Similarity(
        curve(0.5), curve(0.1), dict.fromkeys(CLOTHES[1:], curve(0.4).values), 0.001, 8
    )
    return AnatomyFindings(
        model="model.gguf",
        architecture="llama",
        n_blocks=N_BLOCKS,
        contents=("one", "two"),
        input_norm=ONE,
        blocks=(BlockFinding(ONE, ONE, ONE),) * N_BLOCKS,
        similarity=similar,
        bands=BANDS,
        bands_of_groups={**dict.fromkeys(GROUPS, BANDS), list(GROUPS)[-1]: None},
        lens=tuple(LensFinding(max(1, 4 - k), Estimate(k / 6, 0.1), k / 6) for k in range(6)),
        pairs=(READING, LEFT_OUT),
        scan=scan(N_BLOCKS, 12),
        is_scan_from_store=True,
        predictions=(PREDICTION,),
        notes=("A note.",),
    )


def test_everything_is_on_the_page() -> None:
    page = Page(anatomy_page(anatomy(), "ggufsurgeon anatomy model.gguf"))
    text = " ".join(each.text for each in page.all("body"))
    for verdict in verdicts(anatomy()):
        assert verdict in text
    assert "A note." in text and "the clean prompt has 1 token" in text
    plots = [each for each in page.elements if "patching-plot" in each.classes]
    cells = [each for each in page.all("rect") if any("patching-plot" in w for w in each.within)]
    assert len(plots) == 1 and len(cells) == RECOVERY.size
    place = {(each.attributes["x"], each.attributes["y"]): each for each in cells}
    assert place["1", "0"].classes == ["b8"] and place["3", "3"].classes == ["b6"]
    assert place["2", "3"].classes == ["unscored"] and "not a number" in place["2", "3"].text
    assert "block 3, token 3 (d): +0.70" in place["3", "3"].text
    shades = [each for each in page.elements if "band" in each.classes]
    assert [each.attributes["x"] for each in shades] == ["2.5", "2.5"]  # behind the input, block 0
    assert [each.attributes["width"] for each in shades] == ["2", "2"]
    maps = [each for each in page.elements if "plot" in each.classes]
    assert maps and len(page.all("script")) == 2


def test_curves_are_where_their_values_are() -> None:
    page = Page(anatomy_page(anatomy(), ""))
    line = next(each for each in page.all("polyline") if "line-0" in each.classes)
    points = [tuple(map(float, point.split(","))) for point in line.attributes["points"].split()]
    assert [x for x, _ in points] == list(range(7))
    assert points[3][1] == points[4][1] < points[0][1] == points[6][1]
    assert all(0 <= y <= 100 for _, y in points)


def test_hostile_names_are_texts() -> None:
    reading = replace(
        READING,
        pair=PromptPair(HOSTILE, HOSTILE, HOSTILE, HOSTILE),
        tokens=(HOSTILE, "\x1b[31m", "\u202e", ""),
    )
    found = replace(anatomy(), model=HOSTILE, pairs=(reading,), notes=(HOSTILE,))
    whole = anatomy_page(found, HOSTILE)
    page = Page(whole)
    assert len(page.all("script")) == 2 and "\x1b" not in whole and "\u202e" not in whole


def test_without_a_scan_there_is_no_script() -> None:
    page = Page(anatomy_page(replace(anatomy(), scan=None, lens=(), pairs=()), ""))
    assert not page.all("script") and not page.all("button")
    assert any("script-src 'none'" in each.attributes.get("content", "") for each in page.elements)


def test_which_states_carry_the_answer() -> None:
    assert carriers(READING) == (2, 3)
    assert pair_text(READING).endswith(
        "answer is in the tokens that differ up to block 2 and in the last token from block 3 on"
    )
    at_the_end = replace(READING, differing=(3,))
    assert carriers(at_the_end) == (None, 3)
    nothing = replace(READING, recovery=np.zeros((6, 4)))
    assert carriers(nothing) == (None, None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bands": None}, "No bands: there is no run"),
        ({"bands": replace(BANDS, p_value=0.2)}, "No bands are shown: the best run, blocks 2 to 3"),
        ({}, "encoding band is blocks 0 to 1, the decoding band blocks 4 to 5"),
        ({"predictions": ()}, "too few scored windows"),
        ({"is_scan_from_store": False}, "no scan of windows is given"),
    ],
)
def test_verdicts(change: dict[str, object], says: str) -> None:
    found = replace(anatomy(), **change)  # type: ignore[arg-type]
    assert any(says in text for text in verdicts(found))


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (PREDICTION, "? Yes: the rank correlation"),
        (replace(PREDICTION, correlation=-0.4, interval=(-0.6, -0.1)), "? No, they predict"),
        (replace(PREDICTION, p_value=0.5), "? This is not shown: "),
        (replace(PREDICTION, interval=(-0.1, 0.6)), "? This is not shown: "),
    ],
)
def test_whether_bands_predict_windows(one: Prediction, says: str) -> None:
    (text,) = prediction_text(replace(anatomy(), predictions=(one,)))
    assert says in text
    assert ("the least possible is 0.083" in text) == (one.p_value < 0.1)


def test_steps_of_the_scale() -> None:
    assert [step_of(value) for value in (-9.0, -1.0, 0.0, 0.06, 0.07, 1.0, 3.0)] == [
        *(-8, -8, 0, 0, 1, 8, 8),
    ]
