"""What the colours of a map mean, and its marks: how they are drawn, and their words."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ggufsurgeon.reporting.lettering import counted, signed
from ggufsurgeon.reporting.scan_findings.cell_marks import MEANINGS, CellMark
from ggufsurgeon.reporting.scan_findings.diverging import CLIP_PERCENT, N_STEPS, DivergingScale
from ggufsurgeon.reporting.scan_page.markup import element, escape

PATTERNS = """
<svg width="0" height="0" class="defs" aria-hidden="true"><defs>
<pattern id="missing" width="1" height="1" patternUnits="userSpaceOnUse">
<circle cx=".5" cy=".5" r=".12" class="ink"></circle></pattern>
<pattern id="unscored" width="1" height="1" patternUnits="userSpaceOnUse">
<path d="M.15 .15L.85 .85M.85 .15L.15 .85" class="stroke"></path></pattern>
<pattern id="not-writable" width=".5" height="1" patternUnits="userSpaceOnUse"
 patternTransform="rotate(45)"><path d="M.25 0V1" class="hatch"></path></pattern>
</defs></svg>
"""
"""Patterns whose unit is a cell of a map."""

HOLLOW: Final = 0.27
"""From the edge of a cell to that of the mark that makes it hollow."""


def legend(scale: DivergingScale | None, marks: Collection[CellMark], measured: str) -> str:
    """The colours with figures at their ends, how they were chosen, and the marks that are there.

    None for the scale of a map that has no colours.
    """
    colours = [_colours(scale), _words(scale, measured)] if scale is not None else []
    return element("div", *colours, _marks(marks), class_="legend")


def cell_mark(mark: CellMark, x: int, y: int) -> str:
    """The drawing of a mark in the cell at a place."""
    if mark is CellMark.SURE:
        return element("circle", class_=mark.value, cx=x + 0.5, cy=y + 0.5, r=0.2)
    gap = HOLLOW if mark is CellMark.LEFT_RACE else 0
    side = 1 - 2 * gap
    return element("rect", class_=mark.value, x=x + gap, y=y + gap, width=side, height=side)


def step_class(step: int) -> str:
    """The class that has the colour of a step: `b3` for better, `w3` for worse, `n` between."""
    return f"b{step}" if step > 0 else f"w{-step}" if step < 0 else "n"


def _colours(scale: DivergingScale) -> str:
    steps = range(-N_STEPS, N_STEPS + 1)
    cells = [
        element("rect", x=place, width=1, height=1, class_=step_class(step))
        for place, step in enumerate(steps)
    ]
    bar = element(
        "svg",
        *cells,
        viewBox=f"0 0 {len(steps)} 1",
        preserveAspectRatio="none",
        class_="colours",
        aria_hidden="true",
    )
    shares = (-1.0, -0.25, 0.0, 0.25, 1.0)
    numbers = [element("span", escape(signed(share * scale.limit))) for share in shares]
    sides = element("span", "worse") + element("span", "better")
    return element("div", sides, class_="sides") + bar + element("div", *numbers, class_="numbers")


def _words(scale: DivergingScale, measured: str) -> str:
    text = (
        f"Colour: {measured}, on the search items; above 0 is better. Steps are even in the square "
        f"root. The scale ends at percentile {CLIP_PERCENT} of the sizes"
    )
    if scale.n_beyond:
        text += f": {counted(scale.n_beyond, 'cell')} beyond it"
    return element("p", escape(f"{text}."))


def _marks(marks: Collection[CellMark]) -> str:
    items = [
        element("li", _swatch(mark), escape(meaning))
        for mark, meaning in MEANINGS.items()
        if mark in marks
    ]
    return element("ul", *items) if items else ""


def _swatch(mark: CellMark) -> str:
    is_coloured = mark in (CellMark.SURE, CellMark.LEFT_RACE)
    ground = element("rect", width=1, height=1, class_="b4" if is_coloured else "n")
    drawing = cell_mark(mark, 0, 0)
    return element("svg", ground, drawing, viewBox="0 0 1 1", class_="swatch", aria_hidden="true")
