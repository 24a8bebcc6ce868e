"""One lock for all native objects that share memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence


class FamilyLock:
    """A re-entrant lock, which becomes the same as another when two families are joined.

    A family has one lock at a time, so that its members cannot wait for each other in a circle.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._joined: FamilyLock | None = None

    def __enter__(self) -> None:
        while True:
            root = self._root()
            root._lock.acquire()
            if root._joined is None:
                return
            root._lock.release()  # it was joined to another while this thread waited

    def __exit__(self, *_: object) -> None:
        self._root()._lock.release()

    def _root(self) -> FamilyLock:
        lock = self
        while lock._joined is not None:
            lock = lock._joined
        return lock

    def join(self, other: FamilyLock) -> None:
        """Make both one lock. No thread may call this while it holds one of them alone."""
        while (first := self._root()) is not (second := other._root()):
            one, two = sorted((first, second), key=id)  # so that no two threads wait crosswise
            with one._lock, two._lock:
                if first._joined is None and second._joined is None:
                    second._joined = first


def joined(locks: Sequence[FamilyLock]) -> FamilyLock:
    """The one lock of several families from now on; a new one for none."""
    if not locks:
        return FamilyLock()
    for other in locks[1:]:
        locks[0].join(other)
    return locks[0]
