"""The map of activation patching: a row for each block, a column for each token of a prompt."""

from __future__ import annotations

import math

from ggufsurgeon.anatomy.pairs import PairReading
from ggufsurgeon.reporting.block_ticks import tick_step
from ggufsurgeon.reporting.lettering import MINUS
from ggufsurgeon.reporting.scan_findings.diverging import N_STEPS
from ggufsurgeon.reporting.scan_page.legend import step_class
from ggufsurgeon.reporting.scan_page.markup import element, escape, percent

MOST_TICKS = 10
LEAST_HEIGHT, HEIGHT_OF_ROW = 8.0, 0.75
"""Heights of a map and of one of its rows, in rem."""


def patching_map(reading: PairReading) -> str:
    """The map of a pair, with each figure in the title of its cell; empty if there is none."""
    if reading.recovery is None:
        return ""
    rows = reading.recovery.tolist()
    n_tokens = len(reading.tokens)
    cells = [
        _cell(block, place, value, reading.tokens[place])
        for block, values in enumerate(rows)
        for place, value in enumerate(values)
    ]
    name = f"recovery by block and token of {reading.pair.clean}"
    plot = element(
        "svg",
        *cells,
        viewBox=f"0 0 {n_tokens} {len(rows)}",
        preserveAspectRatio="none",
        class_="patching-plot",
        style=f"height:{max(LEAST_HEIGHT, HEIGHT_OF_ROW * len(rows)):g}rem",
        role="img",
        aria_label=name,
    )
    tokens = [element("span", escape(text or " ")) for text in reading.tokens]
    columns = element(
        "div", *tokens, class_="tokens", style=f"grid-template-columns:repeat({n_tokens},1fr)"
    )
    numbers = element("svg", *_block_numbers(len(rows)), class_="ticks-y", aria_hidden="true")
    return element("div", numbers, plot, columns, class_="patching")


def step_of(recovery: float) -> int:
    """The step of the linear colour scale from -1 to 1; recoveries beyond get the last step."""
    return math.floor(N_STEPS * max(-1.0, min(1.0, recovery)) + 0.5)


def recovery_text(recovery: float) -> str:
    """A recovery with its sign."""
    if not math.isfinite(recovery):
        return "not a number"
    return f"{recovery:+.2f}".replace("-", MINUS)


def _cell(block: int, place: int, recovery: float, token: str) -> str:
    title = element(
        "title", escape(f"block {block}, token {place} ({token}): {recovery_text(recovery)}")
    )
    is_known = math.isfinite(recovery)
    name = step_class(step_of(recovery)) if is_known else "unscored"
    return element("rect", title, x=place, y=block, width=1, height=1, class_=name)


def _block_numbers(n_blocks: int) -> list[str]:
    step = tick_step(n_blocks, MOST_TICKS)
    return [
        element("text", str(block), y=percent((block + 0.5) / n_blocks))
        for block in range(0, n_blocks, step)
    ]
