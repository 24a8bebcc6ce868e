"""How long work tells how far it is, without knowing who watches."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A watcher of long work, which comes in steps."""

    def begin(self, step: str, total: int, unit: str) -> None:
        """A step of `total` units (`bytes` or `chunks`) begins; the one before it is done."""

    def advance(self, n: int, note: str = "") -> None:
        """`n` more units are done. `note` is what is known so far."""


class NullProgress:
    """A progress that shows nothing."""

    def begin(self, step: str, total: int, unit: str) -> None:
        """Do nothing."""

    def advance(self, n: int, note: str = "") -> None:
        """Do nothing."""


NO_PROGRESS: Progress = NullProgress()
