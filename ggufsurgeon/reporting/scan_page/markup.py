"""Elements of HTML and SVG, with all text escaped."""

from __future__ import annotations

from html import escape as escape_markup

from ggufsurgeon.container.quoting import printable

__all__ = ["element", "escape"]

VOID = frozenset({"meta", "br"})
"""Elements of HTML that have no end tag. Those of SVG that are used have one."""


def element(tag: str, /, *content: str, **attributes: str | int | float | bool) -> str:
    """An element around content that is markup already: text has to go through `escape`.

    Attributes are escaped here. `_` in a name stands for `-`, at its end for nothing; True gives an
    attribute without a value, False none.
    """
    parts = [tag]
    for key, value in attributes.items():
        if value is False:
            continue
        written = key.rstrip("_").replace("_", "-")
        parts.append(written if value is True else f'{written}="{_value(value)}"')
    begin = f"<{' '.join(parts)}>"
    return begin if tag in VOID else f"{begin}{''.join(content)}</{tag}>"


def escape(text: str) -> str:
    """The text as content of an element, in one line, with control characters escaped.

    Bidirectional control characters would also reverse the text after the string.
    """
    return escape_markup(printable(text))


def percent(share: float) -> str:
    """A place between 0 and 1, as a percentage."""
    return f"{_short(100 * share)}%"


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else _short(value)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
