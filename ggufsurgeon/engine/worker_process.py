"""The program that a worker process runs: `python -m ggufsurgeon.engine.worker_process`."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from ggufsurgeon.engine.session import Session
from ggufsurgeon.engine.stopping import JobStoppedError, check_stop, clear_stop, request_stop
from ggufsurgeon.errors import GgufSurgeonError


class Messages:
    """The way back to the caller; passed to a job as its reporter."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def send(self, kind: str, value: Any = None) -> None:
        """Send a message."""
        pickle.dump((kind, value), self._stream)
        self._stream.flush()

    def begin(self, step: str, total: int, unit: str) -> None:
        """A step of the job begins."""
        check_stop()
        self.send("begin", (step, total, unit))

    def advance(self, n: int, note: str = "") -> None:
        """The job is `n` units further."""
        check_stop()
        self.send("advance", (n, note))

    def emit(self, result: Any) -> None:
        """The job has a partial result."""
        check_stop()
        self.send("emit", result)

    def suspect(self, path: Path | None) -> None:
        """The file to blame if the process dies now."""
        self.send("suspect", path)


def main() -> None:
    """Run jobs as they come on standard input, until the parent closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C too, and decides
    messages = Messages(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what native code prints must not mix with the messages
    jobs: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    with Session(messages.suspect) as session:
        while True:
            job, arguments = jobs.get()
            clear_stop()
            try:
                messages.send("returned", job(session, *arguments, messages))
            except JobStoppedError:
                messages.send("stopped")
            except GgufSurgeonError as error:
                messages.send("raised", error)
            except BaseException:  # a bug: the caller shows the traceback
                traceback.print_exc()
                os._exit(1)  # Python's own way out waits for the thread that reads


def _read(jobs: SimpleQueue[Any]) -> None:
    """Jobs go to the main thread; None is a request to stop the running one.

    When the parent is gone, however it ended, the process ends at once, whatever it computes.
    """
    while True:
        try:
            message = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):
            os._exit(0)
        if message is None:
            request_stop()
        else:
            jobs.put(message)


if __name__ == "__main__":
    main()
