"""Printing names and values of a file: in one line, of limited length, with unsafe parts escaped.

A corrupt length can make a name of any size, and a hostile file can contain any characters.
"""

from __future__ import annotations

from ggufsurgeon.container.headers.values import Value

LONGEST = 60
"""Characters of a name or a value that are shown."""


def quoted(value: Value | None) -> str:
    """The value as Python writes it, so that it stays in one line, cut to `LONGEST` characters."""
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else f"{value[:LONGEST]}...")
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def shortened(name: str) -> str:
    """A name without quotation marks, cut to `LONGEST` characters."""
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}..."


def printable(text: str) -> str:
    """The text in one line, with escapes for bytes that are not UTF-8 and control characters.

    Control characters (C0 and C1), line breaks, and bidirectional and zero-width characters of
    Unicode are those that Python does not consider printable (`str.isprintable`).
    """
    if text.isprintable():
        return text
    encodable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in encodable)
