"""The ranking: for each path its two intervals, how far luck alone would reach, and figures."""

from __future__ import annotations

from typing import TypeAlias

from ggufsurgeon.reporting.scan_findings.spans import (
    Span,
    interval,
    luck_reach,
    path_interval,
    span_of_most,
)
from ggufsurgeon.reporting.scan_findings.words import (
    cost_texts,
    estimate_text,
    is_significant,
    p_text,
    path_name,
    ranked,
    z_text,
)
from ggufsurgeon.reporting.scan_page.markup import element, escape, percent
from ggufsurgeon.scanning.verdicts.findings import PathFinding, ProbeFindings
from ggufsurgeon.statistics.estimate import Estimate

N_BEST = 20
N_WORST = 5
COLUMNS = ("rank", "path", "interval", "search", "held out", "z", "p", "weights", "KV", "blocks")
Place: TypeAlias = tuple[int, tuple[int, PathFinding]]
"""A rank, and a path with its index in the probe's paths."""
HEIGHT, SEARCH_Y, HELD_OUT_Y = 26, 8, 18
"""Pixels of a row's drawing, and from its top to each of the two means."""


def ranking(probe: ProbeFindings) -> str:
    """A table of the best paths and of the worst, each part with a scale of its own."""
    places = list(enumerate(ranked(probe.paths), 1))
    best, worst = places[:N_BEST], places[N_BEST:][-N_WORST:]
    parts = [_part(best, probe, _span(best, probe, 1), f"best {len(best)}")]
    if worst:
        span = _span(worst, probe, len(worst))
        parts.append(_part(worst, probe, span, f"worst {len(worst)}, other scale"))
    names = [element("th", escape(name), scope="col", role="columnheader") for name in COLUMNS]
    head = element("thead", element("tr", *names, role="row"), role="rowgroup")
    return element("table", head, *parts, class_="ranking", role="table")


def _span(places: list[Place], probe: ProbeFindings, n_kept: int) -> Span:
    intervals = [path_interval(path, probe.luck_z) for _, (_, path) in places]
    return span_of_most(intervals, n_kept)


def _part(places: list[Place], probe: ProbeFindings, span: Span, title: str) -> str:
    heading = element("th", escape(title), colspan=2, scope="colgroup", role="rowheader")
    axis = element("td", _axis(span), class_="interval", role="cell")
    rest = element("td", escape(probe.unit), colspan=len(COLUMNS) - 3, class_="unit", role="cell")
    rows = [_row(place, probe, span) for place in places]
    return element(
        "tbody",
        element("tr", heading, axis, rest, class_="axis", role="row"),
        *rows,
        role="rowgroup",
    )


def _row(place: Place, probe: ProbeFindings, span: Span) -> str:
    number, (index, path) = place
    name = element("button", escape(path_name(path)), type="button", data_path=index)
    drawing = element("td", _intervals(path, probe.luck_z, span), class_="interval", role="cell")
    figures = [
        estimate_text(path.search),
        estimate_text(path.held_out),
        z_text(path.z),
        p_text(path.p_value),
        *cost_texts(path),
    ]
    cells = [
        element("td", escape(text), data_name=name, role="cell")
        for name, text in zip(COLUMNS[3:], figures, strict=True)
    ]
    rank = element("td", str(number), class_="rank", role="cell")
    named = element("th", name, scope="row", role="rowheader")
    return element(
        "tr",
        rank,
        named,
        drawing,
        *cells,
        class_="sure" if is_significant(path) else "",
        role="row",
    )


def _axis(span: Span) -> str:
    marks = [
        element("text", escape(text), x=percent(span.share(value)), y=16)
        for value, text in span.ticks(4).items()
    ]
    return element("svg", *marks, width="100%", height=22, aria_hidden="true")


def _intervals(path: PathFinding, luck_z: float, span: Span) -> str:
    zero, luck = span.share(0.0), span.share(luck_reach(path, luck_z))
    grey = {"x": percent(zero), "width": percent(luck - zero)}
    marks = [
        element("rect", class_="luck", y=0, height="100%", **grey),
        element("line", class_="zero", x1=percent(zero), x2=percent(zero), y1=0, y2="100%"),
    ]
    if path.search is not None:
        marks += _whisker(path.search, span, SEARCH_Y, "search")
    if path.held_out is not None:
        marks += _whisker(path.held_out, span, HELD_OUT_Y, "held-out")
    return element("svg", *marks, width="100%", height=HEIGHT, aria_hidden="true")


def _whisker(estimate: Estimate, span: Span, y: int, side: str) -> list[str]:
    """An interval with its mean: a disc of search items, a square of held-out ones."""
    low, high = (percent(span.share(end)) for end in interval(estimate))
    if not span.holds(estimate.value):
        return [_arrow(estimate.value > span.high, y, side)]
    mean = percent(span.share(estimate.value))
    if side == "search":
        dot = element("circle", class_=side, cx=mean, cy=y, r=4)
    else:
        middle = "translate(-3.5 -3.5)"
        dot = element("rect", class_=side, x=mean, y=y, width=7, height=7, transform=middle)
    return [element("line", class_=side, x1=low, x2=high, y1=y, y2=y), dot]


def _arrow(is_high: bool, y: int, side: str) -> str:
    """In place of a mean that is not on the axis."""
    shape = "M0 0L-9 -4V4Z" if is_high else "M0 0L9 -4V4Z"
    x = "100%" if is_high else "0%"
    return element("svg", element("path", d=shape), class_=f"beyond {side}", x=x, y=y)
