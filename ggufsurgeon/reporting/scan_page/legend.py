"""What the colours and patterns of a map mean."""

from __future__ import annotations

from ggufsurgeon.reporting.diverging import CLIP_PERCENT, N_STEPS, DivergingScale
from ggufsurgeon.reporting.lettering import MINUS, counted
from ggufsurgeon.reporting.scan_page.markup import element, escape
from ggufsurgeon.statistics.maximum import LEVEL

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


def legend(scale: DivergingScale, unit: str) -> str:
    """The colours with figures at their ends, how they were chosen, and the patterns."""
    parts = _colours(scale), _words(scale, unit), _patterns()
    return element("div", *parts, class_="legend")


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
    numbers = [element("span", escape(_short(share * scale.limit))) for share in shares]
    sides = element("span", "worse") + element("span", "better")
    return element("div", sides, class_="sides") + bar + element("div", *numbers, class_="numbers")


def _words(scale: DivergingScale, unit: str) -> str:
    text = (
        f"Colour: mean difference on the search items, {unit}; above 0 is better. Steps are even "
        f"in the square root. The scale ends at percentile {CLIP_PERCENT} of the sizes"
    )
    if scale.n_beyond:
        text += f": {counted(scale.n_beyond, 'cell')} beyond it"
    return element("p", escape(f"{text}."))


def _patterns() -> str:
    entries = [
        ("missing", "not scanned"),
        ("unscored", "no score: refused, or logits not finite"),
        ("not-writable", "can be run, but not written to a file"),
        ("sure", f"p below {LEVEL}"),
    ]
    items = [element("li", _swatch(name), escape(words)) for name, words in entries]
    return element("ul", *items)


def _swatch(name: str) -> str:
    ground = element("rect", width=1, height=1, class_="b4" if name == "sure" else "n")
    if name == "sure":
        mark = element("circle", class_="sure", cx=0.5, cy=0.5, r=0.2)
    else:
        mark = element("rect", width=1, height=1, class_=name)
    return element("svg", ground, mark, viewBox="0 0 1 1", class_="swatch", aria_hidden="true")


def _short(value: float) -> str:
    return f"{value:+.2g}".replace("-", MINUS) if value else "0"
