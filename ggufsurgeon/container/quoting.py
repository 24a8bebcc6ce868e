"""Names and values of a file as messages quote them: a broken length makes a name of any size."""

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
