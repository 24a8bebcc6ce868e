"""A process that keeps models loaded and runs one job after the other over them.

llama.cpp aborts the whole process on some inputs; a worker takes that harm, and its caller gets
an error. Jobs and results are pickles on the process's standard input and output. Not
`multiprocessing`, which would import the caller's main module again.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, TypeVar

from ggufsurgeon.engine.crash import crash_error
from ggufsurgeon.errors import EngineError
from ggufsurgeon.progress import NO_PROGRESS, Progress

T = TypeVar("T")

STOP_SECONDS = 5.0
"""How long a job that was asked to stop may take before its process is killed."""
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
"""For glibc (mallopt(3)): freed memory is kept for the next arrays of the same size. By default
it goes back to the system, and getting it again took longer than the computation."""
ENDED = frozenset({"returned", "raised", "stopped", "died"})
"""Messages that end a job."""


class Worker:
    """A worker process, which starts with the first job and ends with the `with` block.

    An exception in the caller while a job runs (Ctrl-C, or an error of `on_result`) stops the
    job; the process and its models then serve the next job. The process ends itself when its
    parent is gone, however that ended. Several workers run side by side.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._messages: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._suspect: Path | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id; None while no process runs."""
        return self._process.pid if self._process else None

    def run(
        self,
        job: Callable[..., T],
        *arguments: Any,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[Any], object] | None = None,
    ) -> T:
        """`job(session, *arguments, reporter)` in the process; `job` is a function of a module.

        Raises what the job raises, and when the process dies MalformedFileError if a file is to
        blame, UsageError if an RPC server is, else EngineError. The next job then starts a new
        process.
        """
        self._start()
        try:
            self._send((job, arguments))
            kind, value = self._listen(progress, on_result)
        except BaseException:
            self._stop_job()
            raise
        if kind == "died":
            raise self._crash(job.__name__)
        if kind == "raised":
            raise value
        result: T = value
        return result

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._errors):
            if stream is not None:
                _close(stream)

    def _start(self) -> None:
        if self._process is not None:
            return
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._messages, self._suspect = SimpleQueue(), None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ggufsurgeon.engine.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=ALLOCATOR | os.environ | {"GGML_NO_BACKTRACE": "1"},
        )
        threading.Thread(
            target=_receive, args=(self._process.stdout, self._messages), daemon=True
        ).start()

    def _send(self, message: object) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died: `_receive` tells

    def _listen(
        self, progress: Progress, on_result: Callable[[Any], object] | None
    ) -> tuple[str, Any]:
        while True:
            kind, value = self._messages.get()
            if kind in ENDED:
                return kind, value
            if kind == "suspect":
                self._suspect = value
            elif kind == "begin":
                progress.begin(*value)
            elif kind == "advance":
                progress.advance(*value)
            elif on_result is not None:
                on_result(value)

    def _stop_job(self) -> None:
        """Ask the job to stop, and wait for its last message; end the process if none comes."""
        self._send(None)
        try:
            while (message := self._messages.get(timeout=STOP_SECONDS))[0] not in ENDED:
                if message[0] == "suspect":
                    self._suspect = message[1]
        except Empty:
            self.close()
        else:
            if message[0] == "died":
                self.close()

    def _crash(self, job: str) -> Exception:
        if self._process is None or self._errors is None:  # by another thread
            return EngineError(f"the worker was closed in the job {job}")
        status = self._process.wait()
        error = crash_error(status, self._errors, job, self._suspect)
        self.close()
        return error


def _receive(stream: IO[bytes], messages: SimpleQueue[tuple[str, Any]]) -> None:
    """Pass messages on. A thread of its own: an exception in the caller must not tear one."""
    try:
        while True:
            messages.put(pickle.load(stream))
    except (EOFError, pickle.UnpicklingError, OSError, ValueError):
        messages.put(("died", None))


def _close(stream: IO[bytes]) -> None:
    with suppress(OSError):  # what the process has not read is of no use
        stream.close()
