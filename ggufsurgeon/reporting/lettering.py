"""Names and figures in pictures: names may have any length and any script.

Matplotlib draws a box, and warns, for a character that its font lacks: such ones are escaped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.text import Text

FONT: Final = "DejaVu Sans"
"""Matplotlib brings it along and draws in it by default."""
MINUS: Final = "\N{MINUS SIGN}"
LONGEST: Final = 400
"""Characters that are looked at: no more are ever drawn."""


def writable(text: str) -> str:
    """The text in one line, in characters that the font has; escapes in place of others."""
    from matplotlib.font_manager import findfont, get_font

    if len(text) > LONGEST:
        text = _shortened(text, LONGEST)
    font = get_font(findfont(FONT))
    return "".join(
        c if c.isprintable() and font.get_char_index(ord(c)) else _escape(c) for c in text
    )


def fit(text: Text, n_inches: float) -> None:
    """Replace the middle of a text on a figure by an ellipsis until it is no wider."""
    whole = text.get_text()
    n = len(whole)
    while n > 1 and (taken := inches_wide(text)) > n_inches:
        n = min(n - 1, int(n * n_inches / taken) + 1)
        text.set_text(_shortened(whole, n))


def inches_wide(text: Text) -> float:
    """The width of a text on a figure, in inches."""
    begin, end = text.get_transform().inverted().transform(text.get_window_extent())[:, 0]
    return float(end - begin)


def counted(n: int, thing: str) -> str:
    """A count with its noun: `1 chunk`, `1,200 chunks`."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def signed(value: float) -> str:
    """A value to two digits with its sign, for scales; 0 has none."""
    return f"{value:+.2g}".replace("-", MINUS) if value else "0"


def with_error(value: float, error: float, sign: str = "") -> str:
    """A value and its error, to three digits of the error; sign "+" shows a plus sign."""
    if not abs(value) + error < 1e7:  # huge, or not a number
        text = f"{value:{sign}.4g} ± {error:.2g}"
    else:
        n_decimals = 4 if error <= 0 else min(max(0, 2 - math.floor(math.log10(error))), 12)
        text = f"{value:{sign}.{n_decimals}f} ± {error:.{n_decimals}f}"
    return text.replace("-", MINUS)


def _shortened(text: str, n: int) -> str:
    """The text in `n` characters: both ends, since names differ at either."""
    n_last = (n - 1) // 2
    return text[: n - 1 - n_last] + "…" + text[len(text) - n_last :]


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
