"""The style of pictures, with colours for the colour-blind, independent of the user's settings."""

from __future__ import annotations

from contextlib import AbstractContextManager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Pen(NamedTuple):
    """The line that a model is drawn with."""

    colour: str
    pale: str
    """The colour of what it is drawn over; nothing is transparent, since not all viewers are."""
    width: float
    """Points."""


# Told apart by lightness too; the base lies below, and still shows where the two agree.
MODEL, BASE = Pen("#5B2A86", "#BDA9CF", 1.8), Pen("#9A9A9A", "#D4D4D4", 3.4)
WORSE, BETTER = "#D55E00", "#0072B2"
INK, QUIET, BAND = "#222222", "#606060", "#D2D2D2"

SETTINGS: Final = {
    "text.parse_math": False,  # a '$' in a name is a '$'
    "font.size": 9,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.edgecolor": "#9A9A9A",
    "axes.labelcolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "butt",
    "savefig.dpi": 150,
    "svg.hashsalt": "ggufsurgeon",  # else every SVG has other names inside
}
UNDATED: Final[dict[str, dict[str, Any]]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def house_style() -> AbstractContextManager[None]:
    """Matplotlib's defaults and these settings, whatever the user's are; they come back after.

    They are of the process: not for two threads at once.
    """
    from matplotlib import style

    return style.context(["default", SETTINGS])


def drawn(figure: Figure, picture_format: str) -> bytes:
    """The same bytes for the same figure: a file of one of `formats.FORMATS`."""
    stream = BytesIO()
    with house_style():
        figure.savefig(stream, format=picture_format, metadata=UNDATED[picture_format])
    return stream.getvalue()
