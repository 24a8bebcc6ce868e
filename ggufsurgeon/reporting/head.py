"""The head of a picture: its title, and a legend of the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ggufsurgeon.reporting.lettering import fit, inches_wide, writable
from ggufsurgeon.reporting.style import INK, QUIET, Pen

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
    y = _write_title(figure, title, [summary], QUIET)
    for row in rows:
        y -= LINE
        _write_row(figure, y, row)
    _leave_rest(figure, y)


def write_title(figure: Figure, title: str, lines: Sequence[str]) -> None:
    """Write a head of a title and lines of text, and leave the rest to the panels."""
    _leave_rest(figure, _write_title(figure, title, lines, INK))


def _write_title(figure: Figure, title: str, lines: Sequence[str], colour: str) -> float:
    """The place of the last line, in inches from below."""
    width, height = figure.get_size_inches()
    y = float(height) - EDGE - LINE / 2
    fit(_write(figure, EDGE, y, writable(title), size=13), width - 2 * EDGE)
    y -= 0.2 * LINE
    for line in lines:
        y -= LINE
        _write(figure, EDGE, y, line, color=colour)
    return y


def _leave_rest(figure: Figure, y: float) -> None:
    width, height = figure.get_size_inches()
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
