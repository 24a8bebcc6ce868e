"""The bytes of an open file, to be sliced like `bytes`.

They are read, not mapped: access to a mapped file that was truncated, or is on a failing disk,
terminates the process with SIGBUS.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from ggufsurgeon.errors import UsageError

AHEAD_N_BYTES = 1 << 16
"""Smallest number of bytes to read at once: headers are parsed a few bytes at a time."""


class Buffer(Protocol):
    """Bytes to be sliced: `bytes`, those of a file, or those of a file on a server."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: slice, /) -> bytes: ...


class FileBytes:
    """A file of `n_bytes`, open for reading; `path` is for messages only."""

    def __init__(self, descriptor: int, n_bytes: int, path: Path) -> None:
        self._descriptor = descriptor
        self._n_bytes = n_bytes
        self._path = path
        self._ahead = b""
        self._ahead_at = 0

    def __len__(self) -> int:
        return self._n_bytes

    def __getitem__(self, place: slice) -> bytes:
        """Some bytes. Raises UsageError where they cannot be read, or are not there any more."""
        start, end, _ = place.indices(self._n_bytes)
        n_bytes, skipped = end - start, start - self._ahead_at
        if n_bytes <= 0:
            return b""
        if skipped < 0 or skipped + n_bytes > len(self._ahead):
            most = min(max(n_bytes, AHEAD_N_BYTES), self._n_bytes - start)
            self._ahead, self._ahead_at, skipped = self._read(start, n_bytes, most), start, 0
        return self._ahead[skipped : skipped + n_bytes]

    def _read(self, start: int, n_bytes: int, most: int) -> bytes:
        """At least `n_bytes`, and up to `most`."""
        data = b""
        while len(data) < n_bytes:
            at = start + len(data)
            found = read_at(self._descriptor, at, most - len(data), self._path)
            if not found:
                raise UsageError(
                    f"{self._path}: ends at byte {at}, and was longer when it was opened",
                    hint="Wait until nothing writes to it, then try again.",
                )
            data += found
        return data


def read_at(descriptor: int, offset_in_file: int, n_bytes: int, path: Path) -> bytes:
    """Up to `n_bytes` of an open file, none at its end. Raises UsageError, which names `path`."""
    try:
        return os.pread(descriptor, n_bytes, offset_in_file)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read at byte {offset_in_file}: {error.strerror}",
            hint="The disk may be failing: check the kernel log (dmesg).",
        ) from None
