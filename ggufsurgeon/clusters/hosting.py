"""What runs in a worker of an executor: it hosts a process that has loaded the models.

llama.cpp may abort its process. Here that is a process of our own, so the executor's worker
survives, and tells of it. The process is kept for the next request of the same owner.
"""

from __future__ import annotations

import atexit
import pickle
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ggufsurgeon.clusters.model_copies import ModelCopies
from ggufsurgeon.clusters.requests import Reply, Request, unpacked
from ggufsurgeon.errors import GgufSurgeonError, UnfitWorkerError
from ggufsurgeon.own_version import own_version
from ggufsurgeon.store.machine import Machine, machine_job
from ggufsurgeon.workers.session import Reporter, Session
from ggufsurgeon.workers.worker import Worker

IDLE_S = 600.0
"""Seconds without a request after which a process ends: its owner may have died."""
N_SHARED = 8
"""Jobs with their arguments that are remembered."""
SEND_SHARED = b""
"""The answer to a request whose shared part is not known here."""


class _Hosted:
    """A process with loaded models, and what it is."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.timer: threading.Timer | None = None
        self._machine: Machine | None = None

    def machine(self) -> Machine:
        if self._machine is None:
            self._machine = self.worker.run(machine_job)
        return self._machine


class _Host:
    """The processes of this worker of the executor, by the runner that they work for."""

    def __init__(self) -> None:
        self.copies = ModelCopies()
        self._lock = threading.Lock()
        self._shared: OrderedDict[str, bytes] = OrderedDict()
        self._all: dict[str, list[_Hosted]] = {}
        self._idle: dict[str, list[_Hosted]] = {}
        self._released: set[str] = set()

    def shared(self, request: Request) -> bytes | None:
        """The shared part of a request, now or from an earlier one."""
        with self._lock:
            if request.shared is not None:
                self._shared[request.shared_sha256] = request.shared
                while len(self._shared) > N_SHARED:
                    self._shared.popitem(last=False)
            return self._shared.get(request.shared_sha256)

    @contextmanager
    def hosted(self, owner: str) -> Iterator[_Hosted]:
        """A process that nobody uses, for one request."""
        one = self._take(owner)
        try:
            yield one
        finally:
            self._give_back(owner, one)

    def release(self, owner: str) -> None:
        """End all processes of an owner, whatever they compute."""
        with self._lock:
            self._released.add(owner)
            ended = self._all.pop(owner, [])
            self._idle.pop(owner, None)
        for one in ended:
            one.worker.close()

    def close(self) -> None:
        """End all processes."""
        for owner in list(self._all):
            self.release(owner)

    def _take(self, owner: str) -> _Hosted:
        with self._lock:
            if owner in self._released:
                raise UnfitWorkerError("the runner of this request has ended")
            idle = self._idle.get(owner)
            if not idle:
                one = _Hosted()
                self._all.setdefault(owner, []).append(one)
                return one
            one = idle.pop()
            if one.timer is not None:
                one.timer.cancel()
            return one

    def _give_back(self, owner: str, one: _Hosted) -> None:
        with self._lock:
            if owner not in self._released and not one.worker.is_lost:
                one.timer = threading.Timer(IDLE_S, self._forget_idle, (owner, one))
                one.timer.daemon = True
                one.timer.start()
                self._idle.setdefault(owner, []).append(one)
                return
        self._forget(owner, one)

    def _forget_idle(self, owner: str, one: _Hosted) -> None:
        with self._lock:
            if one not in self._idle.get(owner, []):
                return
            self._idle[owner].remove(one)
        self._forget(owner, one)

    def _forget(self, owner: str, one: _Hosted) -> None:
        with self._lock:
            if one in self._all.get(owner, []):
                self._all[owner].remove(one)
        one.worker.close()


_host = _Host()
atexit.register(_host.close)


def run_request(program: str, content: bytes) -> bytes:
    """Run a request, and return the pickle of its Reply, or SEND_SHARED.

    `program` is the caller's version of ggufsurgeon, and `content` the pickle of a Request. Raises
    UnfitWorkerError where another worker may do what this one cannot: for want of the model, of a
    module, or for another version, llama.cpp or CPU. Raises what the job raises, and as
    `Worker.run`.
    """
    if program != (own := own_version()):
        raise UnfitWorkerError(f"it has ggufsurgeon {own}, and the caller {program}")
    request: Request = pickle.loads(content)
    shared = _host.shared(request)
    if shared is None:
        return SEND_SHARED
    paths = [_host.copies.find(model) for model in request.models]
    with _host.hosted(request.owner) as one:
        _check_machine(one, request.machine)
        results: list[Any] = []
        value = one.worker.run(requested_job, shared, request.own, paths, on_result=results.append)
    return pickle.dumps(Reply(tuple(results), value), pickle.HIGHEST_PROTOCOL)


def release(owner: str) -> None:
    """End the processes of an owner here, also those that compute."""
    _host.release(owner)


def _check_machine(one: _Hosted, expected: Machine | None) -> None:
    if expected is None:
        return
    found = one.machine()
    for name, of_this, of_all in zip(Machine._fields, found, expected, strict=True):
        if of_this != of_all:
            what = {"engine": "llama.cpp", "cpu": "CPU", "gpus": "GPUs"}[name]
            raise UnfitWorkerError(
                f"it may round differently: its {what} is {of_this}, and that of the scan {of_all}"
            )


def requested_job(
    session: Session, shared: bytes, own: bytes, paths: Sequence[Path], reporter: Reporter
) -> Any:
    """The job of a request, in the process that has the models."""
    try:
        job, arguments = unpacked(shared, paths)
        more = unpacked(own, paths)
    except GgufSurgeonError:
        raise
    except Exception as error:
        raise UnfitWorkerError(
            f"it cannot import the job or its arguments: {type(error).__name__}: {error}",
            hint="Install the package of the probe on every machine.",
        ) from None
    return job(session, *arguments, *more, reporter)
