"""Native objects, each freed once and before what it was made from."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ggufsurgeon.engine.native_objects.family_lock import FamilyLock, joined
from ggufsurgeon.errors import UsageError


class NativeObject:
    """A model or a context of llama.cpp.

    It is freed by `free`, when the garbage collector finds it, or when the interpreter ends,
    whichever comes first. What it was made from, its parents, live at least as long: they are not
    collected before, and `free` of each frees this one first.
    """

    def __init__(
        self,
        handle: Any,
        free: Callable[[Any], object],
        when_freed: str,
        *parents: NativeObject,
    ) -> None:
        """`free` is the native function; `when_freed` is the error of every later use."""
        self._handle = handle
        self._when_freed = when_freed
        self._children: weakref.WeakSet[NativeObject] = weakref.WeakSet()
        self.lock: FamilyLock = joined([parent.lock for parent in parents])
        """Held while the object, or one of its family, computes or is freed."""
        # The registry of finalizers keeps the parents alive, and at exit the last made is first.
        self._finalizer = weakref.finalize(self, _free, free, handle, self.lock, parents)
        for parent in parents:
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


def _free(free: Callable[[Any], object], handle: Any, lock: FamilyLock, _parents: object) -> None:
    with lock:
        free(handle)
