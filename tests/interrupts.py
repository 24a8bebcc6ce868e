"""Ctrl-C in tests of processes, however the tests themselves were started."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def heed_interrupts() -> None:
    """Heed SIGINT, which a shell has the jobs that it runs in the background ignore.

    It is a `preexec_fn`: the program keeps ignoring what it was started to ignore.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def started(
    command: Sequence[str | Path],
    *,
    preexec_fn: Callable[[], None] = heed_interrupts,
    **options: Any,
) -> Iterator[subprocess.Popen[Any]]:
    """A process that heeds Ctrl-C; the options are those of `Popen`.

    It is killed in the end, and its pipes are closed, whatever became of the test.
    """
    words = [str(word) for word in command]
    with subprocess.Popen(words, preexec_fn=preexec_fn, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run, without the one that looks."""
    command = ["ps", "-o", "pid=", "--ppid", str(pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as looking:
        told, _ = looking.communicate()
    return [found for found in map(int, told.split()) if found != looking.pid]
