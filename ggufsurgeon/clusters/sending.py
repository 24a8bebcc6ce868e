"""The requests of one job that are out: sent to an executor, and sent again where that may help."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ggufsurgeon.clusters.hosting import SEND_SHARED, run_request
from ggufsurgeon.clusters.requests import Reply, Request, packed, packed_job
from ggufsurgeon.errors import EngineError, UnfitWorkerError, UsageError
from ggufsurgeon.own_version import own_version

N_ATTEMPTS = 5
"""How often a request is sent at most, where a process dies of it."""
N_UNFIT = 100
"""Answers in a row by workers that do not fit after which none is taken to fit."""
UNFIT_PAUSE_S = 0.1
"""Seconds before a request goes out again that met such a worker."""
SMALL_N_BYTES = 16384
"""A shared part of up to this size is sent with every request."""


@dataclass
class Sent:
    """A part of a job that is out."""

    part: Any
    own: bytes
    """Its arguments, by `packed`."""
    n_deaths: int = 0


class Sending:
    """Sends the parts of a job that has some arguments in common for all of them.

    Nothing but a queue that a signal's handler cannot leave locked is waited for in this thread.
    """

    def __init__(
        self,
        executor: Executor,
        form: Request,
        job: Callable[..., object],
        shared: Sequence[Any],
        paths: Sequence[Path],
    ) -> None:
        sha256, self._shared = packed_job(job, shared, paths)
        self._executor = executor
        self._form = form._replace(shared_sha256=sha256)
        self._paths = paths
        self._program = own_version()
        self._ended: SimpleQueue[tuple[Sent, Future[bytes]]] = SimpleQueue()
        self._out: set[Future[bytes]] = set()
        self._n_unfit = 0
        self._error: Exception | None = None
        """Why the job ends, for the next call of `replies`."""

    @property
    def n_out(self) -> int:
        """Requests that have not been answered."""
        return len(self._out)

    @property
    def is_awaited(self) -> bool:
        """Whether `replies` has more to give or to raise."""
        return bool(self._out) or self._error is not None

    def send(self, part: Any, own: tuple[Any, ...]) -> None:
        """Send a part with its own arguments. Raises UsageError where the executor is closed."""
        is_small = len(self._shared) <= SMALL_N_BYTES
        self._submit(Sent(part, packed(own, self._paths)), with_shared=is_small)

    def replies(self, timeout_s: float) -> list[tuple[Any, Reply]]:
        """The parts that have ended, after this time at the latest, with their replies.

        Raises what a job raised, and the errors of the executor, once all replies that came before
        have been given.
        """
        if self._error is not None:
            raise self._error
        found = []
        with suppress(Empty):
            sent, future = self._ended.get(timeout=timeout_s)
            while self._error is None:
                reply = self._reply(sent, future)
                if reply is not None:
                    found.append((sent.part, reply))
                sent, future = self._ended.get_nowait()
        return found

    def _reply(self, sent: Sent, future: Future[bytes]) -> Reply | None:
        """The reply to a request; None for one that is sent again, or has failed for good."""
        self._out.discard(future)
        try:
            answer = future.result()
            if answer != SEND_SHARED:
                self._n_unfit = 0
                reply: Reply = pickle.loads(answer)
                return reply
            self._submit(sent, with_shared=True)
        except UnfitWorkerError as error:
            self._send_elsewhere(sent, error)
        except EngineError as error:
            self._send_once_more(sent, error)
        except (CancelledError, BrokenExecutor) as error:
            self._error = _ended_executor(error)
        except Exception as error:
            self._error = error
        return None

    def cancel(self) -> None:
        """Take back what no worker has begun."""
        for future in self._out:
            future.cancel()

    def _submit(self, sent: Sent, *, with_shared: bool) -> None:
        request = self._form._replace(own=sent.own, shared=self._shared if with_shared else None)
        content = pickle.dumps(request, pickle.HIGHEST_PROTOCOL)
        try:
            future = self._executor.submit(run_request, self._program, content)
        except (RuntimeError, BrokenExecutor) as error:
            raise _ended_executor(error) from None
        self._out.add(future)
        future.add_done_callback(lambda ended: self._ended.put((sent, ended)))

    def _send_elsewhere(self, sent: Sent, error: UnfitWorkerError) -> None:
        self._n_unfit += 1
        if self._n_unfit >= N_UNFIT:
            told = f"no worker of the executor can run this: {error}"
            self._error = UsageError(told, hint=error.hint)
            return
        time.sleep(UNFIT_PAUSE_S)
        self._submit(sent, with_shared=True)

    def _send_once_more(self, sent: Sent, error: EngineError) -> None:
        sent.n_deaths += 1
        if sent.n_deaths >= N_ATTEMPTS:
            self._error = error
        else:
            self._submit(sent, with_shared=True)


def _ended_executor(error: BaseException) -> UsageError:
    told = str(error) or "its work was cancelled"
    return UsageError(f"the executor was shut down before the work was finished: {told}")
