"""A Dask cluster as an executor, which is told from outside the threads of Dask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, TimeoutError
from contextlib import suppress
from typing import Any, TypeVar

from ggufsurgeon.clusters.dask.calls import Call
from ggufsurgeon.clusters.dask.connection import (
    CLOSE_S,
    check_package,
    connected,
    silent_logs,
)
from ggufsurgeon.clusters.dask.workers import Workers
from ggufsurgeon.errors import GgufSurgeonError

T = TypeVar("T")


class DaskExecutor(Executor):
    """The workers of a Dask scheduler, each of which runs one call at a time.

    Workers may join and leave at any time. A call whose worker dies is run by another. While there
    is no worker, calls wait for one, which is told. `on_worker` is called, from another thread,
    with a sentence about each of these. Raises MissingExtraError without `distributed`, and
    UsageError where no scheduler answers or one of another version; calls raise UsageError when the
    scheduler is lost or when no worker is left that fits.
    """

    def __init__(self, scheduler: str, on_worker: Callable[[str], object] | None = None) -> None:
        check_package()
        self._scheduler = scheduler
        self._on_worker = on_worker or (lambda _told: None)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # errors come by the calls
        self._end = asyncio.Event()
        self._workers: Workers | None = None
        self._error: BaseException | None = None
        self._is_ready = threading.Event()
        self._lock = threading.Lock()
        """Held while a step is handed to the loop, and while that ends."""
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        try:
            self._is_ready.wait()
        except BaseException:
            self.shutdown()
            raise
        if self._error is not None:
            raise self._error

    @property
    def n_workers(self) -> int:
        """How many workers there are now that fit."""
        return 0 if self._workers is None else self._workers.n_fit

    def submit(  # type: ignore[override]  # functions of Dask take no names
        self, function: Callable[..., T], /, *arguments: Any
    ) -> Future[T]:
        """Have a worker call a function, which it can import."""
        call: Call[T] = Call(function, arguments)
        self._do(lambda workers: workers.add(call))
        return call.future

    def on_each(self, function: Callable[..., T], *arguments: Any) -> list[T]:
        """What a function gives on each worker that is there now; those that fail are left out.

        Waits until there is a worker. Raises UsageError where all fail.
        """
        found: Future[list[T]] = Future()
        self._do(lambda workers: workers.ask_each(function, arguments, found))
        return found.result()

    def tell_each(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function on each worker at once, whatever they compute, if they can be reached."""
        done: Future[None] = Future()
        with suppress(TimeoutError, RuntimeError, GgufSurgeonError):  # where it is lost, nobody is
            self._do(lambda workers: workers.tell_each(function, arguments, done))
            done.result(CLOSE_S)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take leave of the scheduler. Its workers go on with what they compute."""
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._end.set)
        if wait:
            self._thread.join(2 * CLOSE_S)

    def _do(self, step: Callable[[Workers], None]) -> None:
        """Do something in the thread of the loop."""
        with self._lock:
            if self._workers is None or self._has_ended:
                raise self._error or RuntimeError("cannot schedule new futures after shutdown")
            self._loop.call_soon_threadsafe(step, self._workers)

    def _run(self) -> None:
        try:
            with silent_logs():
                self._loop.run_until_complete(self._main())
        except BaseException as error:
            self._error = error
        finally:
            with self._lock:
                self._has_ended = True
            self._loop.run_until_complete(asyncio.sleep(0))  # the steps that came before
            if self._workers is not None:
                self._workers.fail_all(self._error or RuntimeError("the executor was shut down"))
            self._is_ready.set()
            self._loop.close()

    async def _main(self) -> None:
        async with connected(self._scheduler) as client:
            self._workers = Workers(client, self._scheduler, self._on_worker)
            self._is_ready.set()
            watching = asyncio.ensure_future(self._workers.watch())
            ending = asyncio.ensure_future(self._end.wait())
            await asyncio.wait({watching, ending}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                self._error = watching.exception()
            watching.cancel()
            ending.cancel()
            await self._workers.stop()
