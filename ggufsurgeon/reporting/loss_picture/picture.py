"""The picture of `ggufsurgeon perplexity`: losses by position and by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ggufsurgeon.reporting.head import Row, write_head
from ggufsurgeon.reporting.lettering import counted, with_error
from ggufsurgeon.reporting.loss_picture.curves import Curve, Words, draw_curves
from ggufsurgeon.reporting.loss_picture.differences import draw_differences
from ggufsurgeon.reporting.loss_picture.series import drawable
from ggufsurgeon.reporting.style import BASE, MODEL, Pen, drawn, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ggufsurgeon.statistics.divergence import Comparison
    from ggufsurgeon.statistics.perplexity import Perplexity

INCHES: Final = (9.0, 7.6)
BY_CHUNK: Final = Words("Loss by chunk", "chunk of the text", "mean of a chunk")


@dataclass(frozen=True)
class Side:
    """A measured model, and its name in the picture."""

    name: str
    result: Perplexity


@dataclass(frozen=True)
class Against:
    """A base measured on the same chunks, and the divergence of the model from it."""

    base: Side
    comparison: Comparison


def draw_losses(
    picture_format: str, title: str, model: Side, against: Against | None = None
) -> bytes:
    """A picture in one of `formats.FORMATS`; the same bytes for the same arguments."""
    return drawn(loss_figure(title, model, against), picture_format)


def loss_figure(title: str, model: Side, against: Against | None = None) -> Figure:
    """A figure of losses by position, and of losses by chunk or their differences from a base."""
    from matplotlib.figure import Figure

    sides = [(MODEL, model)] + ([] if against is None else [(BASE, against.base)])
    with house_style():
        figure = Figure(figsize=INCHES)
        rows = [Row(pen, side.name, _perplexity(side.result)) for pen, side in sides]
        write_head(figure, title, _summary(model.result), rows)
        above, below = figure.add_subplot(2, 1, 1), figure.add_subplot(2, 1, 2)
        # The base lies under the model.
        _draw_by_position(above, [(pen, side.result) for pen, side in reversed(sides)])
        chunks = drawable(model.result.chunk_losses)
        if against is None:
            draw_curves(below, [Curve(chunks, MODEL)], 1, BY_CHUNK)
        else:
            differences = chunks - drawable(against.base.result.chunk_losses)
            draw_differences(below, differences, against.comparison)
        figure.align_ylabels([above, below])
    return figure


def _draw_by_position(axes: Axes, results: list[tuple[Pen, Perplexity]]) -> None:
    result = results[0][1]
    n_ctx, n_chunks = result.n_ctx, result.n_chunks
    words = Words(
        "Loss by position",
        f"position in the context of {n_ctx:,} tokens",
        f"mean of a position over {counted(n_chunks, 'chunk')}",
    )
    curves = [Curve(drawable(result.position_losses), pen) for pen, result in results]
    draw_curves(axes, curves, n_ctx - 1 - len(result.position_losses), words)


def _summary(result: Perplexity) -> str:
    chunks = counted(result.n_chunks, "chunk")
    if result.is_partial:
        chunks = f"partial: {result.n_chunks:,} of {counted(result.n_chunks_in_all, 'chunk')}"
    return f"{chunks}; {result.n_ctx:,} tokens in each, {len(result.position_losses):,} scored"


def _perplexity(result: Perplexity) -> str:
    return f"perplexity {with_error(result.value, result.error)}"
