"""Names and values of a file as they are shown: in one line, of a bounded length, and harmless.

A broken length makes a name of any size, and whoever made the file chose its characters.
"""

from __future__ import annotations

from ggufsurgeon.container.values import Value

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
    """The text in one line, with escapes for what is not UTF-8 or would control a terminal.

    Python escapes control characters (C0 and C1), line breaks, and characters of Unicode that
    change the direction of text or take no space (`str.isprintable`).
    """
    encodable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in encodable)
