"""What each block is worth: the difference when it alone is dropped."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.reporting.block_ticks import tick_step
from ggufsurgeon.reporting.lettering import counted
from ggufsurgeon.reporting.scan_findings.single_drops import Drop
from ggufsurgeon.reporting.scan_findings.spans import Span, interval, span_of_most
from ggufsurgeon.reporting.scan_findings.words import ON_FEWER_ITEMS, estimate_text, z_text
from ggufsurgeon.reporting.scan_page.markup import element, escape, percent

MOST_TICKS = 10


def ablation(drops: Sequence[Drop], n_blocks: int, measured: str) -> str:
    """A bar for each block, up where the model is better without it."""
    span = span_of_most([interval(drop.found) for drop in drops])
    n_cut = sum(not span.holds(drop.found.value) for drop in drops)
    marks = _lines(span) + [_bar(drop, span, n_blocks) for drop in drops]
    plot = element(
        "svg", *marks, class_="bars", role="group", aria_label="difference without each block"
    )
    numbers = [
        element("span", escape(text), style=f"top:{percent(1 - span.share(value))}")
        for value, text in span.ticks(6).items()
    ]
    scale = element("div", *numbers, class_="scale", aria_hidden="true")
    below = element("svg", *_block_numbers(n_blocks), class_="ticks-x", aria_hidden="true")
    title = element("div", "block that is dropped", class_="title-x")
    note = f"{measured[:1].upper()}{measured[1:]}, ± 2 standard errors, on the search items."
    if any(drop.path.left_race for drop in drops):
        note += f" Pale bars: {ON_FEWER_ITEMS}."
    if n_cut:
        note += f" {counted(n_cut, 'bar')} beyond the scale: triangles."
    drawing = element("div", scale, plot, below, title, class_="ablation")
    return drawing + element("p", escape(note), class_="note")


def _lines(span: Span) -> list[str]:
    lines = []
    for value in span.ticks(6):
        y = percent(1 - span.share(value))
        name = "zero" if value == 0 else "grid"
        lines.append(element("line", class_=name, x1=0, x2="100%", y1=y, y2=y))
    return lines


def _bar(drop: Drop, span: Span, n_blocks: int) -> str:
    value = drop.found.value
    zero, end = 1 - span.share(0.0), 1 - span.share(value)
    middle = percent((drop.block + 0.5) / n_blocks)
    low, high = (percent(1 - span.share(side)) for side in interval(drop.found))
    column = {"x": percent(drop.block / n_blocks), "width": percent(1 / n_blocks)}
    side = "better" if value > 0 else "worse"
    side += " left-race" if drop.path.left_race else ""
    bar = element(
        "rect",
        class_=f"bar {side}",
        x=percent((drop.block + 0.15) / n_blocks),
        width=percent(0.7 / n_blocks),
        y=percent(min(zero, end)),
        height=percent(abs(zero - end)),
    )
    marks = [element("rect", class_="target", y=0, height="100%", **column), bar]
    if span.holds(value):
        marks.append(element("line", class_="error", x1=middle, x2=middle, y1=low, y2=high))
    else:
        marks.append(_triangle(middle, value > 0))
    label = f"block {drop.block} dropped: {estimate_text(drop.found)}, z {z_text(drop.path.z)}"
    return element("g", *marks, data_path=drop.number, tabindex=0, role="button", aria_label=label)


def _triangle(x: str, is_up: bool) -> str:
    y, shape = ("0", "M-5 8L0 0L5 8Z") if is_up else ("100%", "M-5 -8L0 0L5 -8Z")
    return element("svg", element("path", d=shape), x=x, y=y, class_="beyond")


def _block_numbers(n_blocks: int) -> list[str]:
    step = tick_step(n_blocks, MOST_TICKS)
    return [
        element("text", str(block), x=percent((block + 0.5) / n_blocks), y="14")
        for block in range(0, n_blocks, step)
    ]
