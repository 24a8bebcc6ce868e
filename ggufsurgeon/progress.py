"""Progress of long work, reported without knowing who shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A receiver of the progress of long work, step by step."""

    def begin(self, step: str, total: int, unit: str) -> None:
        """A step of `total` units, such as `bytes`, begins; the one before it is done."""

    def advance(self, n: int, note: str = "") -> None:
        """`n` more units are done. `note` is a short interim result."""


class NullProgress:
    """A progress that is not shown."""

    def begin(self, step: str, total: int, unit: str) -> None:
        """Do nothing."""

    def advance(self, n: int, note: str = "") -> None:
        """Do nothing."""


NO_PROGRESS: Progress = NullProgress()
