"""Lines over the blocks of a model, with intervals as ribbons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ggufsurgeon.reporting.block_ticks import tick_step
from ggufsurgeon.reporting.scan_findings.spans import Span, span_of
from ggufsurgeon.reporting.scan_page.markup import element, escape, percent

MOST_TICKS = 10
HEIGHT = 100
"""Height of the plot in units of its viewBox."""


class Line(NamedTuple):
    """A figure after each block, from `first` on."""

    name: str
    values: Sequence[float]
    first: int = 0
    """The block of the first value; -1 is the input of block 0."""
    ribbon: tuple[Sequence[float], Sequence[float]] | None = None
    """The low and the high ends of the interval of each value."""


def line_chart(
    lines: Sequence[Line], n_blocks: int, title: str, bands: tuple[int, int] | None = None
) -> str:
    """The chart with scale, block numbers and legend; `bands` shades the blocks [first, end)."""
    ends = [end for line in lines for values in line.ribbon or () for end in values]
    span = span_of([*ends, *(value for line in lines for value in line.values)])
    first = min(line.first for line in lines)
    places = _Places(first, n_blocks - 1, span)
    marks = [_shade(places, bands)] if bands is not None else []
    marks += [_grid(places, value) for value in span.ticks(6)]
    marks += [_ribbon(places, line, k) for k, line in enumerate(lines) if line.ribbon]
    marks += [_line(places, line, k) for k, line in enumerate(lines)]
    plot = element(
        "svg",
        *marks,
        viewBox=f"0 0 {places.width} {HEIGHT}",
        preserveAspectRatio="none",
        class_="lines",
        role="img",
        aria_label=f"{title}, block by block: {', '.join(line.name for line in lines)}",
    )
    numbers = [
        element("span", escape(text), style=f"top:{percent(1 - span.share(value))}")
        for value, text in span.ticks(6).items()
    ]
    scale = element("div", *numbers, class_="scale", aria_hidden="true")
    below = element("svg", *_block_numbers(places), class_="ticks-x", aria_hidden="true")
    what = element("div", "after block", class_="title-x")
    drawing = element("div", scale, plot, below, what, class_="ablation chart")
    return drawing + _names(lines)


class _Places:
    def __init__(self, first: int, last: int, span: Span) -> None:
        self.first, self.last, self._span = first, last, span
        self.width = max(1, last - first)

    def y(self, value: float) -> str:
        return f"{HEIGHT * (1 - self._span.share(value)):.2f}"

    def points(self, values: Sequence[float], first: int) -> list[str]:
        """The points of the values that are finite numbers."""
        return [
            f"{k + first - self.first},{self.y(value)}"
            for k, value in enumerate(values)
            if math.isfinite(value)
        ]


def _grid(places: _Places, value: float) -> str:
    y = places.y(value)
    name = "zero" if value == 0 else "grid"
    return element("line", class_=name, x1=0, x2=places.width, y1=y, y2=y)


def _shade(places: _Places, bands: tuple[int, int]) -> str:
    """A rectangle from the first block to the last, half a block wider on both sides."""
    first, end = bands
    x = max(0.0, first - places.first - 0.5)
    width = min(float(places.width), end - 1 - places.first + 0.5) - x
    return element("rect", class_="band", x=x, y=0, width=width, height=HEIGHT)


def _ribbon(places: _Places, line: Line, number: int) -> str:
    low, high = line.ribbon or ((), ())
    edge = places.points(high, line.first) + places.points(low, line.first)[::-1]
    return element("polygon", class_=f"ribbon line-{number}", points=" ".join(edge))


def _line(places: _Places, line: Line, number: int) -> str:
    points = " ".join(places.points(line.values, line.first))
    return element("polyline", class_=f"curve line-{number}", points=points)


def _names(lines: Sequence[Line]) -> str:
    items = []
    for number, line in enumerate(lines):
        sample = element("line", class_=f"curve line-{number}", x1=0, x2=24, y1=6, y2=6)
        swatch = element("svg", sample, width=24, height=12, aria_hidden="true")
        items.append(element("li", swatch, escape(line.name)))
    return element("ul", *items, class_="names")


def _block_numbers(places: _Places) -> list[str]:
    n_blocks = places.last + 1
    step = tick_step(n_blocks, MOST_TICKS)
    return [
        element("text", str(block), x=percent((block - places.first) / places.width), y="14")
        for block in range(0, n_blocks, step)
    ]
