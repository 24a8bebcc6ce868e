"""The steps of an edit in place, and of undoing it. Each step can be repeated from its start.

On ext4 and XFS, inserting first extends the file and then moves its extents one by one, the last
first, each in its own transaction (fs/ext4/extents.c, ext4_insert_range; fs/xfs/xfs_file.c,
xfs_falloc_insert_range). Collapsing moves the first extents first, and finally truncates the file.
After a power cut in between, the file has the greater size, and a hole as long as the inserted
range, between the extents that have moved and those that have not.
"""

from __future__ import annotations

import errno
import os

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.in_place.edit import InsertingEdit
from ggufsurgeon.in_place.journal import Journal
from ggufsurgeon.progress import Progress
from ggufsurgeon.writing.placement.reservation import fallocate, reserve
from ggufsurgeon.writing.span_writers.copying import Copier, write_at
from ggufsurgeon.writing.span_writers.spans import write_span

FILE_SYSTEMS = ("ext4", "xfs")
"""Those on which bytes are inserted and taken out: the states after a crash are known (Linux
names)."""
COLLAPSE_RANGE = 0x08
INSERT_RANGE = 0x20
"""Modes of fallocate(2) (linux/falloc.h)."""
NOT_HERE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""Errors of it where the file system has no such mode, or not for these offsets."""


def append_tail(descriptor: int, edit: InsertingEdit, journal: Journal, progress: Progress) -> None:
    """Write the tail behind the data that stay, and sync it. Raises OSError."""
    progress.begin("appending", edit.n_bytes_tail, "bytes")
    if edit.n_bytes_tail:
        reserve(descriptor, [range(edit.unmoved_end, edit.unmoved_end + edit.n_bytes_tail)])
    os.lseek(descriptor, edit.unmoved_end, os.SEEK_SET)
    sink = _TailSink(Copier(descriptor, progress), edit.unmoved_end, journal.behind)
    for span in edit.tail:
        write_span(sink, [descriptor], span)
    os.fsync(descriptor)


class _TailSink:
    """Appends to a file from the same file. Bytes that the tail overwrites are read from memory."""

    def __init__(self, copier: Copier, end: int, behind: bytes) -> None:
        self._copier = copier
        self._end = end
        self._behind = behind
        self.write = copier.write
        self.write_zeros = copier.write_zeros

    def copy(self, source: int, offset_in_file: int, n_bytes: int) -> None:
        """Copy bytes of the file as it was."""
        n_there = min(max(self._end - offset_in_file, 0), n_bytes)
        self._copier.copy(source, offset_in_file, n_there)
        start = offset_in_file + n_there - self._end
        if n_there < n_bytes:
            self.write(memoryview(self._behind)[start : start + n_bytes - n_there])


def insert(descriptor: int, journal: Journal) -> None:
    """Insert room for the new prefix, and sync it. Raises OSError."""
    if journal.n_bytes_inserted:
        fallocate(descriptor, INSERT_RANGE, 0, journal.n_bytes_inserted)
        os.fsync(descriptor)


def write_prefix(descriptor: int, journal: Journal) -> None:
    """Write the new prefix, and sync it.

    Raises OSError. Without room, nothing was written where the file system has reservations.
    """
    reserve(descriptor, [range(len(journal.after))])
    write_at(descriptor, journal.after, 0)
    os.fsync(descriptor)


def take_out(descriptor: int, journal: Journal, gap: range) -> None:
    """Remove the inserted range, wherever it is.

    Raises RefusedError where the file system cannot, and OSError.
    """
    if gap.start >= journal.n_bytes_with_tail:
        os.ftruncate(descriptor, journal.n_bytes_with_tail)
    else:
        _collapse(descriptor, gap)
    os.fsync(descriptor)


def _collapse(descriptor: int, gap: range) -> None:
    try:
        fallocate(descriptor, COLLAPSE_RANGE, gap.start, len(gap))
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
        raise RefusedError(
            f"{len(gap):,} bytes that were inserted have to be taken out again, which this file "
            f"system cannot do ({error.strerror})",
            hint="Copy the model and its journal to ext4 or XFS with cp, which keeps holes, and "
            "recover it there.",
        ) from None


def undo(descriptor: int, journal: Journal) -> None:
    """Restore the old file, in which no inserted range is left. Raises OSError."""
    write_at(descriptor, journal.behind, journal.unmoved_end)
    os.ftruncate(descriptor, journal.n_bytes_old)
    if os.pread(descriptor, len(journal.before), 0) != journal.before:
        write_at(descriptor, journal.before, 0)
    os.fsync(descriptor)
