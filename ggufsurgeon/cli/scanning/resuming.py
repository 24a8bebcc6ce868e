"""The message of an interrupted scan or search: what it has kept, and how to resume it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ggufsurgeon.cli.interrupted import Interrupted


@contextmanager
def telling_how_to_resume(store: Path, work: str) -> Iterator[None]:
    """Within the block, an interruption says that the store has the scores so far."""
    try:
        yield
    except Interrupted as interrupt:
        interrupt.state = f"{store} has all scores so far; the same command resumes the {work}."
        raise
