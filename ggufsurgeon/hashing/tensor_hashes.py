"""SHA-256 of each tensor of several files, by several threads: hashing releases the GIL."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from threading import Event, Lock

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.hashing.whole_file import read_region, unreadable
from ggufsurgeon.progress import NO_PROGRESS, Progress

MOST_THREADS = 8
"""More gain nothing: that many hash 10 GB in a second, on CPUs with instructions for SHA-256."""


def hash_tensors(
    files: Sequence[GgufFile], progress: Progress = NO_PROGRESS
) -> tuple[tuple[str, ...], ...]:
    """For each file the SHA-256 of the data of each tensor, in hexadecimal, without padding.

    Raises UsageError when a file cannot be read, or ends before its header says.
    """
    total = sum(sum(file.layout.tensor_n_bytes) for file in files)
    progress.begin("hashing", total, "bytes")
    with ExitStack() as stack:
        descriptors = [_opened(file, stack) for file in files]
        pool = stack.enter_context(ThreadPoolExecutor(_n_threads()))
        jobs = _Jobs(progress)
        stack.callback(jobs.stop.set)  # before the pool waits for its threads
        hashing = [
            [
                pool.submit(jobs.hash, file, descriptor, index)
                for index in range(len(file.header.tensors))
            ]
            for file, descriptor in zip(files, descriptors, strict=True)
        ]
        wait([each for futures in hashing for each in futures], return_when=FIRST_EXCEPTION)
        return tuple(tuple(each.result() for each in futures) for futures in hashing)


def _opened(file: GgufFile, stack: ExitStack) -> int:
    try:
        descriptor = os.open(file.path, os.O_RDONLY)
    except OSError as error:
        raise unreadable(file.path, error) from None
    stack.callback(os.close, descriptor)
    return descriptor


def _n_threads() -> int:
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return min(len(cpus) or os.cpu_count() or 1, MOST_THREADS)


class _Jobs:
    """Work of several threads with one progress, which stops early when asked to."""

    def __init__(self, progress: Progress) -> None:
        self.stop = Event()
        self._progress = progress
        self._lock = Lock()

    def hash(self, file: GgufFile, descriptor: int, index: int) -> str:
        digest = hashlib.sha256()
        start, n_bytes = file.offset_in_file(index), file.layout.tensor_n_bytes[index]
        try:
            for piece in read_region(descriptor, start, n_bytes):
                if self.stop.is_set():
                    raise UsageError("hashing was stopped")
                digest.update(piece)
                with self._lock:
                    self._progress.advance(len(piece))
        except OSError as error:
            raise unreadable(file.path, error) from None
        return digest.hexdigest()
