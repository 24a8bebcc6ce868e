"""The program that a worker process runs: `python -m ggufsurgeon.workers.worker_process`."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from ggufsurgeon.engine.devices.heartbeat import SilenceWatch, beat
from ggufsurgeon.engine.installation.library import import_bindings_alone, print_logged_errors
from ggufsurgeon.engine.stopping import JobStoppedError, check_stop, clear_stop, request_stop
from ggufsurgeon.engine.tokenizing import report_reading
from ggufsurgeon.errors import GgufSurgeonError, OutOfMemoryError, UsageError
from ggufsurgeon.workers.crash import BUG_STATUS, USE_LESS
from ggufsurgeon.workers.messages import STOP, encode, read_message
from ggufsurgeon.workers.session import Session


class Messages:
    """The way back to the caller; passed to a job as its reporter."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, kind: str, value: Any = None) -> None:
        """Send a message."""
        self._send(encode((kind, value)))

    def confirm_stop(self) -> None:
        """Answer a request to stop: no job runs."""
        self._send(STOP)

    def end_lost(self, error: UsageError) -> None:
        """Send `error` as the last message and end the process, from another thread.

        Does nothing while a message is being sent: the job then waits for the parent.
        """
        if self._lock.acquire(blocking=False):
            self._write(encode(("lost", error)))
            os._exit(1)

    def begin(self, step: str, total: int, unit: str) -> None:
        """Report that a step of the job begins."""
        check_stop()
        self.send("begin", (step, total, unit))

    def advance(self, n: int, note: str = "") -> None:
        """Report that the job is `n` units further."""
        check_stop()
        self.send("advance", (n, note))

    def emit(self, result: Any) -> None:
        """Report a partial result."""
        check_stop()
        self.send("emit", result)

    def suspect(self, path: Path | None) -> None:
        """Name the file to blame if the process dies now; None for no file."""
        self.send("suspect", path)

    def reading(self, text: str) -> None:
        """Tell what is known of the text to blame if the process dies now; "" for none."""
        self.send("reading", text)

    def _send(self, message: bytes) -> None:
        with self._lock:
            self._write(message)
        beat()

    def _write(self, message: bytes) -> None:
        self._stream.write(message)
        self._stream.flush()


def main() -> None:
    """Run jobs as they come on standard input, until the parent closes it."""
    _leave_interrupts_to_the_parent()
    requests, messages = _take_standard_streams()
    print_logged_errors()
    import_bindings_alone()
    watch = SilenceWatch(messages.end_lost)
    report_reading(messages.reading)
    with Session(messages.suspect) as session:
        while True:
            request = requests.get()
            if request:
                beat()
                watch.is_on = True
                _run(request, session, messages)
                watch.is_on = False
            else:  # the job that was to stop has ended
                clear_stop()
                messages.confirm_stop()


def _run(request: bytes, session: Session, messages: Messages) -> None:
    """Run a job and send how it ended."""
    try:
        _run_or_raise(request, session, messages)
    except BaseException:  # a bug: the caller shows the traceback
        traceback.print_exc()
        os._exit(BUG_STATUS)  # Python's own way out waits for the thread that reads


def _run_or_raise(request: bytes, session: Session, messages: Messages) -> None:
    try:
        job, arguments = _decode_job(request)
        messages.send("returned", job(session, *arguments, messages))
    except JobStoppedError:
        pass  # the parent waits for the answer to its request
    except GgufSurgeonError as error:
        messages.send("raised", error)
    except MemoryError as error:
        told = f"the system has no memory left in the job {job.__name__}: {error}"
        messages.send("raised", OutOfMemoryError(told.removesuffix(": "), hint=USE_LESS))


def _decode_job(request: bytes) -> Any:
    try:
        return pickle.loads(request)
    except Exception as error:
        raise UsageError(
            f"a worker cannot import this job or its arguments: {error}",
            hint="Define jobs in a module that can be imported, not in a script or notebook.",
        ) from None


def _leave_interrupts_to_the_parent() -> None:
    """Ignore Ctrl-C: the terminal sends it to the parent too, which decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _take_standard_streams() -> tuple[SimpleQueue[bytes], Messages]:
    """Requests and messages, on descriptors that no job or native code reads or prints to."""
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(stdin, requests), daemon=True).start()
    return requests, Messages(stdout)


def _read(stream: IO[bytes], requests: SimpleQueue[bytes]) -> None:
    """Pass requests to the main thread; the empty one also stops the running job.

    When the parent is gone, however it ended, the process ends at once, whatever it computes.
    """
    while True:
        try:
            request = read_message(stream)
        except EOFError:
            os._exit(0)
        if not request:
            request_stop()
        requests.put(request)


if __name__ == "__main__":
    main()
