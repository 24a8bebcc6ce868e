"""Calls that wait for a worker, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Call(Generic[T]):
    """A function that a worker is to call, and where its result goes."""

    def __init__(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.future: Future[T] = Future()

    def give(self, value: T) -> None:
        """Set the result, unless the call has ended."""
        with suppress(InvalidStateError):
            self.future.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Set the error, unless the call has ended."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class CallQueue:
    """Calls that no worker has begun. Of one thread, that of an event loop."""

    def __init__(self) -> None:
        self._calls: deque[Call[Any]] = deque()
        self._is_any = asyncio.Event()

    def put(self, call: Call[Any]) -> None:
        """Add a call."""
        self._calls.append(call)
        self._is_any.set()

    def put_back(self, call: Call[Any]) -> None:
        """Add a call that was taken, before the others."""
        self._calls.appendleft(call)
        self._is_any.set()

    async def get(self) -> Call[Any]:
        """The next call, which nobody has cancelled."""
        while True:
            while not self._calls:
                self._is_any.clear()
                await self._is_any.wait()
            call = self._calls.popleft()
            if call.future.running() or call.future.set_running_or_notify_cancel():
                return call

    def take_all(self) -> list[Call[Any]]:
        """All calls; none is left."""
        calls = list(self._calls)
        self._calls.clear()
        return calls
