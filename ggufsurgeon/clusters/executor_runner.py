"""A runner of jobs on the workers of an executor, many at a time."""

from __future__ import annotations

import pickle
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol, TypeVar, runtime_checkable

from ggufsurgeon.clusters.hosting import release, run_request
from ggufsurgeon.clusters.requests import NeededModel, Reply, Request, packed, packed_job
from ggufsurgeon.clusters.sending import Sending
from ggufsurgeon.own_version import own_version
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.store.machine import Machine, machine_job

T = TypeVar("T")
P = TypeVar("P")

POLL_S = 0.5
"""Seconds between two looks at whether there is more to send."""
N_AT_ONCE = 64
"""Requests that an executor has at a time, if it does not say how many workers it has."""
N_QUEUED = 2
"""Requests for workers that will be free next."""
_ALONE = object()
"""The part of a job that has no parts."""


@runtime_checkable
class ManyWorkers(Protocol):
    """An executor that knows its workers. Each runs one call at a time."""

    @property
    def n_workers(self) -> int:
        """How many there are now."""

    def on_each(self, function: Callable[..., T], *arguments: Any) -> list[T]:
        """What a function gives on each worker that is there now; those that fail are left out.

        Waits until there is a worker.
        """

    def tell_each(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function on each worker at once, whatever they compute."""


class ExecutorRunner:
    """Runs jobs in processes that the workers of an executor host. It is a `Runner`.

    Every worker finds the models by their path, or by their fingerprint, and loads them once. A
    request goes to another worker when a process dies of it, and when a worker does not fit. What
    workers have loaded is freed at the end of the `with` block; the workers of an executor that is
    not among `ManyWorkers`, in other processes, do so after some minutes without a request.
    """

    is_lost = False
    """Models that are gone are loaded again."""

    def __init__(self, executor: Executor, models: Sequence[NeededModel]) -> None:
        self._executor = executor
        self._paths = [model.path for model in models]
        needed = tuple(one._replace(path=one.path.absolute()) for one in models)
        self._form = Request(uuid.uuid4().hex, needed, None, "", None, b"")

    def __enter__(self) -> ExecutorRunner:
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._executor, ManyWorkers):
            self._executor.tell_each(release, self._form.owner)
        release(self._form.owner)

    @property
    def n_workers(self) -> int:
        """How many workers there are now; 1 where the executor does not say it."""
        return self._executor.n_workers if isinstance(self._executor, ManyWorkers) else 1

    def machines(self) -> list[Machine]:
        """The kinds of machines that workers are of, the most frequent first.

        Raises as `run`.
        """
        if not isinstance(self._executor, ManyWorkers):
            return [self.run(machine_job)]
        sha256, shared = packed_job(machine_job, (), self._paths)
        own = packed((), self._paths)
        request = self._form._replace(shared_sha256=sha256, shared=shared, own=own, machine=None)
        content = pickle.dumps(request, pickle.HIGHEST_PROTOCOL)
        answers = self._executor.on_each(run_request, own_version(), content)
        counts = Counter(pickle.loads(answer).value for answer in answers)
        return sorted(counts, key=lambda machine: (-counts[machine], machine))

    def only(self, machine: Machine) -> None:
        """Take results of this kind of machine alone from now on."""
        self._form = self._form._replace(machine=machine)

    def run(
        self,
        job: Callable[..., T],
        *arguments: Any,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[Any], object] | None = None,
    ) -> T:
        """Run one job on some worker. Results come when it has ended, and no progress.

        Raises what the job raises, UsageError where no worker fits or the executor has ended, and
        EngineError where processes die of it.
        """
        ended: list[tuple[object, Reply]] = []
        sending = Sending(self._executor, self._form, job, arguments, self._paths)
        parts = iter([_ALONE])
        self._run_all(sending, parts, lambda _: (), ended.extend)
        ((_, reply),) = ended
        for result in reply.results:
            if on_result is not None:
                on_result(result)
        value: T = reply.value
        return value

    def run_each(
        self,
        job: Callable[..., object],
        shared: Sequence[Any],
        parts: Iterator[P | None],
        on_results: Callable[[list[Any]], object],
        on_end: Callable[[list[P]], object],
    ) -> None:
        """Run `job(session, *shared, [part], reporter)` for each part, on many workers at a time.

        `parts` gives None when it has no part at the moment: it is asked again soon. `on_results`
        is called here, in this thread, with the results of the parts that have ended since, then
        `on_end` with these parts. Raises as `run`.
        """

        def take(ended: list[tuple[P, Reply]]) -> None:
            on_results([result for _, reply in ended for result in reply.results])
            on_end([part for part, _ in ended])

        sending = Sending(self._executor, self._form, job, shared, self._paths)
        self._run_all(sending, parts, lambda part: ([part],), take)

    def _run_all(
        self,
        sending: Sending,
        parts: Iterator[P | None],
        own: Callable[[P], tuple[Any, ...]],
        take: Callable[[list[tuple[P, Reply]]], object],
    ) -> None:
        is_more = True
        try:
            while is_more or sending.is_awaited:
                try:
                    while sending.n_out < self._n_at_once() and (part := next(parts)) is not None:
                        sending.send(part, own(part))
                except StopIteration:
                    is_more = False
                if (is_more or sending.is_awaited) and (ended := sending.replies(POLL_S)):
                    take(ended)
        finally:
            sending.cancel()

    def _n_at_once(self) -> int:
        if isinstance(self._executor, ManyWorkers):
            return self._executor.n_workers + N_QUEUED
        return N_AT_ONCE
