"""SHA-256 of each tensor of several files, by several threads: hashing releases the GIL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from threading import Event, Lock

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.joined_bytes import JoinedBytes, opened_bytes
from ggufsurgeon.hashing.threads import run_all
from ggufsurgeon.hashing.whole_file import (
    hash_group,
    read_region,
    region_of_group,
    tensor_groups,
    unreadable,
)
from ggufsurgeon.progress import NO_PROGRESS, Progress

MOST_THREADS = 8
"""More gain nothing: that many hash 10 GB in a second, on CPUs with instructions for SHA-256."""


def hash_tensors(
    files: Sequence[GgufFile], progress: Progress = NO_PROGRESS
) -> tuple[tuple[str, ...], ...]:
    """For each file the SHA-256 of the data of each tensor, in hexadecimal, without padding.

    Raises UsageError when a file cannot be read, or ends before its header says.
    """
    groups = [(n, group) for n, file in enumerate(files) for group in tensor_groups(file)]
    total = sum(region_of_group(files[n], group)[1] for n, group in groups)
    progress.begin("hashing", total, "bytes")
    with ExitStack() as stack:
        data = [stack.enter_context(opened_bytes(file)) for file in files]
        hashing = _Hashing(files, data, groups, progress)
        run_all([hashing.work] * _n_threads(), hashing.stop)
    return tuple(tuple(digests) for digests in hashing.digests)


def _n_threads() -> int:
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return min(len(cpus) or os.cpu_count() or 1, MOST_THREADS)


class _Hashing:
    """Groups of tensors that several threads take one after another, in the order of their data."""

    def __init__(
        self,
        files: Sequence[GgufFile],
        data: Sequence[JoinedBytes],
        groups: Sequence[tuple[int, range]],
        progress: Progress,
    ) -> None:
        self.digests = [[""] * len(file.header.tensors) for file in files]
        self.stop = Event()
        self._files = files
        self._data = data
        self._progress = progress
        self._lock = Lock()
        self._groups = iter(groups)

    def work(self) -> None:
        """Hash tensors until there are none left."""
        while not self.stop.is_set():
            with self._lock:
                number, group = next(self._groups, (None, range(0)))
            if number is None:
                return
            found = hash_group(self._files[number], group, self._read(number, group))
            self.digests[number][group.start : group.stop] = found

    def _read(self, number: int, group: range) -> Iterator[bytes]:
        """The bytes of a group, with their progress."""
        file = self._files[number]
        try:
            for piece in read_region(self._data[number], *region_of_group(file, group), self.stop):
                with self._lock:
                    self._progress.advance(len(piece))
                yield piece
        except OSError as error:
            raise unreadable(file.path, error) from None
