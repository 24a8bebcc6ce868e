"""Options that can read standard input, which only one of them can do at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ggufsurgeon.errors import UsageError

STANDARD_INPUT = Path("-")


def check_read_once(options: Mapping[str, Path | None]) -> None:
    """Raise UsageError where two of these inputs, by their names, are standard input."""
    reading = [name for name, path in options.items() if path == STANDARD_INPUT]
    if len(reading) > 1:
        raise UsageError(
            f"{' and '.join(reading)} would both be read from standard input",
            hint=f"Give a file for {reading[-1]}.",
        )
