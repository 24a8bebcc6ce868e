"""The workers of a Dask scheduler: who is there, who does not fit, and what each is to call."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ggufsurgeon.clusters.dask.calls import Call, CallQueue
from ggufsurgeon.errors import EngineError, GgufSurgeonError, UnfitWorkerError, UsageError

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")

LOOK_S = 0.5
"""Seconds between two looks at who is there."""
ANSWER_S = 30.0
"""Seconds in which the scheduler must answer."""
N_DEATHS = 3
"""How many processes in a row may die on a worker before it gets no more calls."""
MOST_NAMED = 3
"""Workers that are named one by one when they join or leave at the same time."""


class Workers:
    """The workers of a scheduler. Of one thread, that of the event loop of the client."""

    def __init__(self, client: Client, scheduler: str, on_worker: Callable[[str], object]) -> None:
        self._client = client
        self._scheduler = scheduler
        self._on_worker = on_worker
        self._queue = CallQueue()
        self._running: set[Call[Any]] = set()
        self._serving: dict[str, asyncio.Task[None]] = {}
        """What gives calls to each worker that is there, by its address."""
        self._gone: dict[str, asyncio.Event] = {}
        self._left_out: dict[str, GgufSurgeonError] = {}
        """Why workers get no calls, by their address."""
        self._is_any = asyncio.Event()
        self._is_told_of_none = False
        self._asking: set[asyncio.Task[None]] = set()
        self._asked: set[Future[Any]] = set()
        self.n_fit = 0
        """How many workers take calls."""

    def add(self, call: Call[Any]) -> None:
        """Have a worker run a call."""
        self._queue.put(call)
        self._fail_where_nobody_fits()

    def fail_all(self, error: BaseException) -> None:
        """End all calls, and what else is waited for."""
        for call in (*self._queue.take_all(), *self._running):
            call.fail(error)
        for found in self._asked:
            with suppress(InvalidStateError):
                found.set_exception(error)

    async def watch(self) -> None:
        """Look who is there, as long as the scheduler is. Raises UsageError when it is lost."""
        while True:
            try:
                found = self._client.nthreads()
                now = set(await asyncio.wait_for(found, ANSWER_S))
            except Exception as error:
                raise self._lost(str(error)) from None
            if self._client.status != "running":
                raise self._lost("the connection ended")
            self._greet(now)
            await asyncio.sleep(LOOK_S)

    async def stop(self) -> None:
        """Give no more calls to workers."""
        tasks = (*self._serving.values(), *self._asking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ask_each(
        self, function: Callable[..., T], arguments: tuple[Any, ...], found: Future[list[T]]
    ) -> None:
        """Set `found` to what a function gives on each worker, once there is one."""

        async def ask() -> list[T]:
            await self._is_any.wait()
            asked = [self._ask(one, gone, function, arguments) for one, gone in self._gone.items()]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            good = [one for one in answers if not isinstance(one, BaseException)]
            errors = [one for one in answers if isinstance(one, BaseException)]
            if errors and not good:
                raise errors[0]
            return good

        self._start(ask(), found)

    def tell_each(
        self, function: Callable[..., object], arguments: tuple[Any, ...], done: Future[None]
    ) -> None:
        """Call a function in the event loop of each worker, and set `done` then."""

        async def tell() -> None:
            await self._client.run(function, *arguments, on_error="ignore")

        self._start(tell(), done)

    def _start(self, asking: Coroutine[Any, Any, T], found: Future[T]) -> None:
        async def ask() -> None:
            try:
                found.set_result(await asking)
            except Exception as error:
                found.set_exception(error)
            self._asked.discard(found)

        task = asyncio.ensure_future(ask())
        self._asking.add(task)
        self._asked.add(found)
        task.add_done_callback(self._asking.discard)

    def _greet(self, now: set[str]) -> None:
        """Take notice of the workers that have joined or gone."""
        joined, lost = now - self._serving.keys(), self._serving.keys() - now
        for address in joined:
            gone = self._gone[address] = asyncio.Event()
            self._serving[address] = asyncio.ensure_future(self._serve(address, gone))
        for address in lost:
            self._gone.pop(address).set()
            del self._serving[address]
            self._left_out.pop(address, None)
        self._count()
        self._tell(joined, "has joined", "have joined")
        self._tell(lost, "has left", "have left")
        if now:
            self._is_any.set()
        elif not self._is_told_of_none:
            self._on_worker(f"no worker has joined {self._scheduler} yet: waiting for one")
        self._is_told_of_none = not now
        self._fail_where_nobody_fits()

    def _tell(self, addresses: set[str], one: str, many: str) -> None:
        if len(addresses) > MOST_NAMED:
            self._on_worker(f"{len(addresses)} workers {many}")
        else:
            for address in sorted(addresses):
                self._on_worker(f"worker {address} {one}")

    async def _serve(self, address: str, gone: asyncio.Event) -> None:
        """Give one call after the other to a worker, until it is gone or left out."""
        n_deaths = 0
        while not gone.is_set() and address not in self._left_out:
            call = await _unless(gone, self._queue.get())
            if call is None:
                return
            self._running.add(call)
            try:
                call.give(await self._ask(address, gone, call.function, call.arguments))
                n_deaths = 0
            except UnfitWorkerError as error:
                self._queue.put_back(call)
                self._leave_out(address, error)
            except EngineError as error:
                if self._client.status != "running":
                    self._queue.put_back(call)  # `watch` will say that the scheduler is lost
                    return
                call.fail(error)
                n_deaths += 1
                if n_deaths >= N_DEATHS:
                    self._leave_out(address, error)
            except Exception as error:
                call.fail(error)
            finally:
                self._running.discard(call)

    async def _ask(
        self,
        address: str,
        gone: asyncio.Event,
        function: Callable[..., T],
        arguments: tuple[Any, ...],
    ) -> T:
        """What a function gives on a worker. Raises EngineError when that is gone before."""
        content = pickle.dumps(_Deferred(function, arguments), pickle.HIGHEST_PROTOCOL)
        sent = self._client.submit(
            pickle.loads, content, workers=[address], pure=False, allow_other_workers=False
        )
        try:
            answer = await _unless(gone, _answer(sent))
        finally:
            sent.release()
        if answer is None:
            raise EngineError(
                f"worker {address} was lost while it ran this",
                hint="Read the log of that worker: it may have run out of memory.",
            )
        value: T = answer
        return value

    def _leave_out(self, address: str, error: GgufSurgeonError) -> None:
        self._left_out[address] = error
        self._count()
        self._on_worker(f"worker {address} is excluded: {error}")
        self._fail_where_nobody_fits()

    def _count(self) -> None:
        """Other threads read a number rather than the workers."""
        self.n_fit = len(self._serving) - len(self._left_out)

    def _fail_where_nobody_fits(self) -> None:
        """End the calls that wait, where workers are there and none of them fits."""
        if not self._serving or self.n_fit:
            return
        error = next(iter(self._left_out.values()))
        kind = EngineError if isinstance(error, EngineError) else UsageError
        told = f"no worker of {self._scheduler} can run this: {error}"
        for call in self._queue.take_all():
            call.fail(kind(told, hint=error.hint))

    def _lost(self, why: str) -> UsageError:
        told = f": {why}" if why else ""
        return UsageError(
            f"the Dask scheduler at {self._scheduler} is lost{told}",
            hint="Start it again, with its workers, and run the same command again.",
        )


class _Deferred:
    """A call that is made where its pickle is read.

    The scheduler reads what it passes on (distributed/scheduler.py, `update_graph`): it finds
    nothing in it that it would have to import, so that only workers need this program.
    """

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        return self._call


async def _answer(sent: Any) -> Any:
    """What a future of Dask gives. Raises UnfitWorkerError where the worker lacks the program."""
    from distributed import KilledWorker

    try:
        return await sent
    except (CancelledError, asyncio.CancelledError, KilledWorker) as error:
        raise EngineError(f"a worker was lost while it ran this: {error}") from None
    except ImportError as error:
        raise UnfitWorkerError(
            f"it cannot import ggufsurgeon: {error}",
            hint="Install ggufsurgeon with the same extras on every machine.",
        ) from None


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What a coroutine gives; None where the event comes before."""
    doing, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        doing.cancel()
        waiting.cancel()
