"""The head of a picture: its title, and a legend of the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ggufsurgeon.reporting.lettering import fit, inches_wide, writable
from ggufsurgeon.reporting.style import QUIET, Pen

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

EDGE: Final = 0.15
"""Inches that stay empty around a picture."""
LINE: Final = 0.23
"""Inches from one line to the next."""


class Row(NamedTuple):
    """A model: its pen, its name and its figure."""

    pen: Pen
    name: str
    figure: str


def write_head(figure: Figure, title: str, summary: str, rows: Sequence[Row]) -> None:
    """Write the head at the top of the figure, and leave the rest to the panels."""
    width, height = figure.get_size_inches()
    y = height - EDGE - LINE / 2
    fit(_write(figure, EDGE, y, writable(title), size=13), width - 2 * EDGE)
    y -= 1.2 * LINE
    _write(figure, EDGE, y, summary, color=QUIET)
    for row in rows:
        y -= LINE
        _write_row(figure, y, row)
    top = (y - LINE) / height
    margins = EDGE / width, EDGE / height
    rect = (*margins, 1 - 2 * margins[0], top - margins[1])
    figure.set_layout_engine("constrained", rect=rect, hspace=0.06)


def _write_row(figure: Figure, y: float, row: Row) -> None:
    """Draw a sample of the model's pen, and write its name and, on the right, its figure."""
    from matplotlib.lines import Line2D

    width, begin = figure.get_size_inches()[0], EDGE + 0.4
    inches = figure.dpi_scale_trans
    line = Line2D(
        [EDGE, EDGE + 0.28], [y, y], color=row.pen.colour, linewidth=row.pen.width, transform=inches
    )
    figure.add_artist(line)
    told = _write(figure, width - EDGE, y, row.figure, horizontalalignment="right")
    room = width - begin - 2 * EDGE - inches_wide(told)
    fit(_write(figure, begin, y, writable(row.name)), room)


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> Text:
    """Write a text at a place in inches from the lower left."""
    place: dict[str, Any] = {"verticalalignment": "center", "transform": figure.dpi_scale_trans}
    return figure.text(x, y, text, **place, **style)
