"""Native objects, each freed once and before what it was made from."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from ggufsurgeon.errors import UsageError


class NativeObject:
    """A model or a context of llama.cpp.

    It is freed by `free`, when the garbage collector finds it, or when the interpreter ends,
    whichever comes first. What it was made from, its parent, lives at least as long: it is not
    collected before, and its `free` frees this one first.
    """

    def __init__(
        self,
        handle: Any,
        free: Callable[[Any], object],
        when_freed: str,
        parent: NativeObject | None = None,
    ) -> None:
        """`free` is the native function; `when_freed` is the error of every later use."""
        self._handle = handle
        self._when_freed = when_freed
        self._children: weakref.WeakSet[NativeObject] = weakref.WeakSet()
        self.lock: threading.RLock = threading.RLock() if parent is None else parent.lock
        """Held while the object, or one that was made from it, computes or is freed."""
        # The registry of finalizers keeps the parent alive, and at exit the last made is first.
        self._finalizer = weakref.finalize(self, _free, free, handle, self.lock, parent)
        if parent is not None:
            parent._children.add(self)

    @property
    def handle(self) -> Any:
        """The native pointer. Raises UsageError once it was freed, where llama.cpp would crash."""
        if not self._finalizer.alive:
            raise UsageError(self._when_freed)
        return self._handle

    def free(self) -> None:
        """Free what was made from it, then itself; every later use raises UsageError."""
        with self.lock:
            for child in tuple(self._children):
                child.free()
            self._finalizer()


def _free(
    free: Callable[[Any], object], handle: Any, lock: threading.RLock, _parent: object
) -> None:
    with lock:
        free(handle)
