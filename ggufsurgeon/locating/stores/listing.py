"""What to say where a store has no such model: those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from ggufsurgeon.container.quoting import printable
from ggufsurgeon.errors import UsageError

MOST_LISTED = 20
MOST_LOOKED_AT = 100_000
"""Files of a store that are listed: a folder that is none of a store can have any number."""


def not_there(
    name: object, problem: str, there: Iterable[object], where: Sequence[Path]
) -> UsageError:
    """The error for a name that a store does not have; `there` are the names that it has."""
    listed = sorted(map(str, there))
    if listed:
        more = f", and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
        names = ", ".join(map(printable, listed[:MOST_LISTED]))
        return UsageError(f"{name}: {problem}", hint=f"There are: {names}{more}")
    folders = " and ".join(printable(str(folder)) for folder in where)
    return UsageError(f"{name}: {problem}", hint=f"No GGUF was found in {folders}.")


def gguf_files(folder: Path) -> list[Path]:
    """The GGUF files below a folder, in order; none where it is not there or cannot be read."""
    found = (path for path in folder.rglob("*.[gG][gG][uU][fF]") if path.is_file())
    return sorted(islice(found, MOST_LOOKED_AT))
