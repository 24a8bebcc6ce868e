"""What a failure looks like to a person: one message, and nothing else has happened."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.writing.plans import listing


def assert_told(done: subprocess.CompletedProcess[str], code: int, says: str) -> None:
    """One message on standard error, no traceback, nothing on standard output."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    # What is wrong, and at most what state that leaves and what to do next, set in below it.
    _, *more = done.stderr.splitlines()
    assert len(more) <= 2 and all(line.startswith("  ") for line in more), done.stderr


class Unchanged:
    """A folder that must be as it was at the end of a `with`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        self._before = listing(self._folder)

    def __exit__(self, *_: object) -> None:
        assert listing(self._folder) == self._before
