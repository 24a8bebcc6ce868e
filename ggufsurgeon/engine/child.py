"""Run a function in a child process: llama.cpp aborts the whole process on some inputs.

The job goes to the child's standard input as a pickle; what it reports and returns comes back
on its standard output. Not `multiprocessing`, which would run the caller's main module again.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError, UsageError
from ggufsurgeon.progress import UNWATCHED, Progress

T = TypeVar("T")

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
"""For glibc (mallopt(3)): memory is kept for the next arrays as large, some megabytes. By default
it goes back to the system after each, and to get it again took longer than what was computed."""


class Reporter(Progress, Protocol):
    """What a job is given to tell how far it is, and what it has so far."""

    def say(self, piece: Any) -> None:
        """Pass on a piece of the result, as it comes."""


def run_in_child(
    job: Callable[..., T],
    *arguments: Any,
    model: Path | str,
    progress: Progress = UNWATCHED,
    hear: Callable[[Any], object] | None = None,
) -> T:
    """`job(*arguments, reporter)`, in a child process; `hear` is called with what it says.

    `job` is a function of a module. Raises what the job raises, and when the process dies
    UsageError if an RPC server is to blame, else MalformedFileError, naming `model`:
    the file that the process runs, or all of them.
    """
    with tempfile.TemporaryFile() as errors, _start(errors) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            _send(process.stdin, (job, arguments))
            kind, value = _listen(process.stdout, progress, hear)
        except _ChildDiedError:
            raise _death(process.wait(), errors, str(model)) from None
        finally:
            process.kill()
    if kind == "raised":
        raise value
    result: T = value
    return result


def _start(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ggufsurgeon.engine.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=ALLOCATOR | os.environ | {"GGML_NO_BACKTRACE": "1"},
    )


class _ChildDiedError(Exception):
    """It no longer takes or gives messages; not to be taken for an error of whoever hears them."""


def _send(stream: IO[bytes], job: object) -> None:
    try:
        pickle.dump(job, stream)
        stream.close()
    except BrokenPipeError:
        raise _ChildDiedError from None


def _receive(messages: IO[bytes]) -> tuple[str, Any]:
    try:
        kind, value = pickle.load(messages)
    except (EOFError, pickle.UnpicklingError):
        raise _ChildDiedError from None
    return kind, value


def _listen(
    messages: IO[bytes], progress: Progress, hear: Callable[[Any], object] | None
) -> tuple[str, Any]:
    while True:
        kind, value = _receive(messages)
        if kind == "begin":
            progress.begin(*value)
        elif kind == "advance":
            progress.advance(*value)
        elif kind == "say":
            if hear is not None:
                hear(value)
        else:
            return kind, value


def _death(status: int, errors: IO[bytes], model: str) -> Exception:
    errors.seek(0)
    printed = errors.read().decode("utf-8", "replace").strip()
    if status >= 0:  # Python went down, not llama.cpp: our bug
        return RuntimeError(f"the child process exited with status {status}:\n{printed}")
    how = signal.Signals(-status).name
    if "RPC server" in printed or "ggml-rpc.cpp" in printed:
        lost = printed.splitlines()[-1]
        return UsageError(
            f"an RPC server was lost or does not speak this llama.cpp's protocol ({how}: {lost})",
            hint="Is each server of --rpc still running, and of the same version of llama.cpp?",
        )
    problem = f"llama.cpp ended the process that ran it ({how})"
    return MalformedFileError(model, ": ".join([problem, *printed.splitlines()[-1:]]))


class _Messages:
    """The way back to the parent; passed to the job as its progress."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def send(self, kind: str, value: Any) -> None:
        pickle.dump((kind, value), self._stream)
        self._stream.flush()

    def begin(self, step: str, total: int, unit: str) -> None:
        self.send("begin", (step, total, unit))

    def advance(self, n: int, note: str = "") -> None:
        self.send("advance", (n, note))

    def say(self, piece: Any) -> None:
        self.send("say", piece)


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C too, and ends this one
    messages = _Messages(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever native code prints must not mix with the messages
    job, arguments = pickle.load(sys.stdin.buffer)
    try:
        messages.send("returned", job(*arguments, messages))
    except GgufSurgeonError as error:
        messages.send("raised", error)


if __name__ == "__main__":
    _serve()
