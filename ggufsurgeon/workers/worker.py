"""A process that keeps models loaded and runs one job after the other over them.

llama.cpp aborts its process on some inputs. In a worker that is an error for the caller, who goes
on. `multiprocessing` is not used, since it would import the caller's main module again.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, TypeVar

from ggufsurgeon.errors import EngineError, UsageError
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.workers.crash import Death, crash_error
from ggufsurgeon.workers.memory_kills import count_memory_kills
from ggufsurgeon.workers.messages import STOP, encode, read_message
from ggufsurgeon.workers.output_tail import OutputTail

T = TypeVar("T")

STOP_SECONDS = 5.0
"""How long a job that was asked to stop may take before its process is killed."""
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
"""For glibc (mallopt(3)): freed memory is kept for the next arrays of the same size. By default
it goes back to the system, and getting it again took longer than the computation."""
ENDED = frozenset({"returned", "raised", "lost", "died"})
"""Messages that end a job; behind the last two the process is gone."""


class Worker:
    """A worker process. It starts with the first job and ends with the `with` block.

    An exception in the caller while a job runs (Ctrl-C, or an error of `on_result`) stops the
    job; the process and its models then serve the next job. A job that does not stop within
    STOP_SECONDS is killed with the process. The process ends itself when its parent is gone,
    however that ended. Several workers run side by side; one worker runs one job at a time.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: OutputTail | None = None
        self._messages: SimpleQueue[bytes | None] = SimpleQueue()
        """Messages of the process; None is its end."""
        self._suspect: Path | None = None
        self._reading = ""
        """What is known of the text that the process reads."""
        self._is_closed = False
        self._kills_before = count_memory_kills()
        self._lost_in = ""
        """The job in which the process ended."""

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id; None while no process runs."""
        return self._process.pid if self._process else None

    @property
    def is_lost(self) -> bool:
        """Whether the process ended in a job, and its models with it: no job can follow."""
        return bool(self._lost_in)

    def run(
        self,
        job: Callable[..., T],
        *arguments: Any,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[Any], object] | None = None,
    ) -> T:
        """Run `job(session, *arguments, reporter)` in the process and return what it returns.

        `job` is a function of an importable module; arguments and results are pickled. Raises
        what the job raises, if that is a GgufSurgeonError. When the process dies, raises
        MalformedFileError if a file is to blame, UsageError if a text or an RPC server is,
        OutOfMemoryError if memory ran out, else EngineError; every later job then raises
        EngineError, since the models are gone. Raises UsageError after `close`, and for a job that
        cannot be sent.
        """
        name = getattr(job, "__name__", repr(job))
        request = _encode_job(name, job, arguments)
        process, printed = self._running_process()
        printed.forget()
        self._suspect, self._reading = None, ""
        try:
            _send(process, request)
            kind, value = self._listen(progress, on_result)
        except BaseException:
            self._stop_job(name)
            raise
        if kind == "died":
            raise self._crash(name)
        if kind == "lost":
            self._lose(name)
        if kind != "returned":
            raise value
        result: T = value
        return result

    def close(self) -> None:
        """End the process, whatever it computes."""
        self._is_closed = True
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                _close(stream)

    def _running_process(self) -> tuple[subprocess.Popen[bytes], OutputTail]:
        if self._lost_in:
            raise EngineError(
                f"the worker's process ended in an earlier job, {self._lost_in}, and its models "
                "with it",
                hint="Make a new worker, or load the model again.",
            )
        if self._is_closed:
            raise UsageError("the worker is closed: use it within its `with` block")
        if self._process is None or self._printed is None:
            with _interrupt_held_back():
                self._kills_before = count_memory_kills()
                self._process, self._printed = _start_process(self._messages)
        return self._process, self._printed

    def _listen(
        self, progress: Progress, on_result: Callable[[Any], object] | None
    ) -> tuple[str, Any]:
        while True:
            kind, value = _decode(self._messages.get())
            if kind in ENDED:
                return kind, value
            if kind == "suspect":
                self._suspect = value
            elif kind == "reading":
                self._reading = value
            elif kind == "begin":
                progress.begin(*value)
            elif kind == "advance":
                progress.advance(*value)
            elif on_result is not None:
                on_result(value)

    def _stop_job(self, name: str) -> None:
        """Ask the job to stop and wait until the process is idle; else end the process."""
        end = time.monotonic() + STOP_SECONDS
        is_idle = False
        try:
            if self._process is not None:
                _send(self._process, STOP)
                is_idle = self._wait_until_idle(end)
        finally:  # a second Ctrl-C does not wait
            if not is_idle:
                self._lose(name)

    def _wait_until_idle(self, end: float) -> bool:
        message: bytes | None = b"?"
        with suppress(Empty):
            while message:
                message = self._messages.get(timeout=max(end - time.monotonic(), 0))
        return message == b""

    def _lose(self, name: str) -> None:
        if not self._is_closed:
            self._lost_in = name
        self.close()

    def _crash(self, name: str) -> Exception:
        process, printed = self._process, self._printed
        if process is None or printed is None:  # by another thread
            return EngineError(f"the worker was closed in the job {name}")
        status, text = process.wait(), printed.text()
        error = crash_error(
            Death(status, text, name, self._suspect, self._reading, self._kills_before)
        )
        self._lose(name)
        return error


def _encode_job(name: str, job: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    try:
        return encode((job, arguments))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"the job {name} cannot be sent to a worker: {error}",
            hint="A job is a function at the top of a module, and its arguments are values.",
        ) from error


def _decode(message: bytes | None) -> tuple[str, Any]:
    if message is None:
        return "died", None
    kind, value = pickle.loads(message)
    return kind, value


def _start_process(
    messages: SimpleQueue[bytes | None],
) -> tuple[subprocess.Popen[bytes], OutputTail]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ggufsurgeon.workers.worker_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ALLOCATOR | os.environ | {"GGML_NO_BACKTRACE": "1"},
    )
    assert process.stdout is not None and process.stderr is not None
    threading.Thread(target=_receive, args=(process.stdout, messages), daemon=True).start()
    return process, OutputTail(process.stderr)


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Delay Ctrl-C. A process that starts inherits that until it ignores Ctrl-C by itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(process: subprocess.Popen[bytes], message: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died: `_receive` tells
        process.stdin.write(message)
        process.stdin.flush()


def _receive(stream: IO[bytes], messages: SimpleQueue[bytes | None]) -> None:
    """Pass messages on. A thread of its own: an exception in the caller must not tear one."""
    with suppress(EOFError, OSError, ValueError):
        while True:
            messages.put(read_message(stream))
    messages.put(None)


def _close(stream: IO[bytes]) -> None:
    with suppress(OSError):  # what the process has not read is of no use
        stream.close()
