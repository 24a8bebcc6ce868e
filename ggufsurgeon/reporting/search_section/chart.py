"""The chart of a search: the score of each path against the blocks that it adds."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ggufsurgeon.reporting.lettering import MINUS
from ggufsurgeon.reporting.scan_findings.spans import Span, interval, span_of
from ggufsurgeon.reporting.scan_findings.words import count_text, estimate_text
from ggufsurgeon.reporting.scan_page.markup import element, escape
from ggufsurgeon.scanning.search.findings import BestOfLength, SearchFindings, TriedPath

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 44
"""Room for the scales, in units of the view box."""
MOST_TICKS = 8
ASIDE = 6
"""Units that search and held-out figures stand to the left and to the right of their length."""


def search_chart(found: SearchFindings) -> str:
    """All tried paths as points; of the best of each length, the held-out figure beside it."""
    places = _Places(found)
    marks = [*_grid(places), *_luck(places, found)]
    marks += [_point(places, path, "tried") for path in found.tried if math.isfinite(path.score)]
    marks += [mark for best in found.best for mark in _best(places, best)]
    return element(
        "svg",
        *marks,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_="front",
        role="img",
        aria_label=f"Score of {len(found.tried)} paths against the number of blocks they add",
    )


class _Places:
    """Where figures stand."""

    def __init__(self, found: SearchFindings) -> None:
        lengths = [path.cost.n_blocks for path in found.tried]
        self.low, self.high = min([0, *lengths]), max([0, *lengths])
        self.span = _span(found)

    def x(self, n_blocks: int, aside: float = 0.0) -> float:
        share = (n_blocks - self.low + 0.5) / (self.high - self.low + 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT) + aside

    def y(self, value: float) -> float:
        return TOP + (1 - self.span.share(value)) * (HEIGHT - TOP - BOTTOM)


def _span(found: SearchFindings) -> Span:
    """That of the best paths, and of the better half of the others: the rest is cut off."""
    scores = [path.score for path in found.tried if math.isfinite(path.score)]
    values = scores[: math.ceil(len(scores) / 2)]
    for best in found.best:
        values.append(best.path.score)
        values += interval(best.held_out) if best.held_out is not None else ()
    if found.luck is not None:
        values.append(found.luck.score)
    return span_of(values)


def _grid(places: _Places) -> Iterator[str]:
    for value, text in places.span.ticks(MOST_TICKS).items():
        y = places.y(value)
        name = "zero" if value == 0 else "grid"
        yield element("line", class_=name, x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y)
        yield element("text", escape(text), x=LEFT / 2, y=y + 4)
    step = max(1, math.ceil((places.high - places.low + 1) / 24))
    for n_blocks in range(places.low, places.high + 1, step):
        label = count_text(n_blocks)
        yield element("text", label, x=places.x(n_blocks), y=HEIGHT - BOTTOM + 18)
    yield element("text", "added blocks", x=WIDTH / 2, y=HEIGHT - 6)


def _luck(places: _Places, found: SearchFindings) -> Iterator[str]:
    if found.luck is not None:
        y = places.y(found.luck.score)
        yield element("line", class_="reach", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y)


def _point(places: _Places, path: TriedPath, name: str) -> str:
    figures = f"score {path.score:+.4g}, mean {estimate_text(path.search)}".replace("-", MINUS)
    title = element("title", escape(f"{path.layer_path}: {figures}"))
    x, y = places.x(path.cost.n_blocks, -ASIDE), places.y(path.score)
    return element("circle", title, class_=name, cx=x, cy=y, r=5.0 if name == "search" else 2.5)


def _best(places: _Places, best: BestOfLength) -> Iterator[str]:
    yield _point(places, best.path, "search")
    if best.held_out is None or not math.isfinite(best.held_out.value):
        return
    x, y = places.x(best.path.cost.n_blocks, ASIDE), places.y(best.held_out.value)
    low, high = interval(best.held_out)
    yield element("line", class_="held-out", x1=x, x2=x, y1=places.y(low), y2=places.y(high))
    title = element(
        "title", escape(f"{best.path.layer_path}: held out {estimate_text(best.held_out)}")
    )
    yield element("rect", title, class_="held-out", x=x - 4.0, y=y - 4.0, width=8.0, height=8.0)
