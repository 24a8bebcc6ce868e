"""The steps of an edit in place, and of undoing it. Each step can be repeated from its start.

On ext4 and XFS, inserting first extends the file and then moves its extents one by one, the last
first, each in its own transaction (fs/ext4/extents.c, ext4_insert_range; fs/xfs/xfs_file.c,
xfs_falloc_insert_range). Collapsing moves the first extents first, and finally truncates the file.
After a power cut in between, the file has the greater size, and a hole as long as the inserted
range, between the extents that have moved and those that have not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.in_place.edit import InsertingEdit
from ggufsurgeon.in_place.journal import NO_GAP, Journal, sample_sha256
from ggufsurgeon.progress import Progress
from ggufsurgeon.writing.copying import Copier
from ggufsurgeon.writing.reservation import KEEP_SIZE, NO_ROOM, fallocate
from ggufsurgeon.writing.spans import write_span

COLLAPSE_RANGE = 0x08
INSERT_RANGE = 0x20
"""Modes of fallocate(2) (linux/falloc.h)."""


def append_tail(descriptor: int, edit: InsertingEdit, journal: Journal, progress: Progress) -> None:
    """Write the tail behind the data that stay, and sync it. Raises OSError."""
    progress.begin("appending", edit.n_bytes_tail, "bytes")
    if edit.n_bytes_tail:
        reserve(descriptor, edit.unmoved_end, edit.n_bytes_tail)
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
    """Write the new prefix, and sync it. Raises OSError; without room, nothing was written."""
    reserve(descriptor, 0, len(journal.after))
    write_at(descriptor, journal.after, 0)
    os.fsync(descriptor)


def take_out(descriptor: int, journal: Journal, gap: range) -> None:
    """Remove the inserted range, wherever it is. Raises OSError."""
    if gap.start >= journal.n_bytes_with_tail:
        os.ftruncate(descriptor, journal.n_bytes_with_tail)
    else:
        fallocate(descriptor, COLLAPSE_RANGE, gap.start, len(gap))
    os.fsync(descriptor)


def undo(descriptor: int, journal: Journal) -> None:
    """Restore the old file, in which no inserted range is left. Raises OSError."""
    write_at(descriptor, journal.behind, journal.unmoved_end)
    os.ftruncate(descriptor, journal.n_bytes_old)
    if os.pread(descriptor, len(journal.before), 0) != journal.before:
        write_at(descriptor, journal.before, 0)
    os.fsync(descriptor)


def find_gap(descriptor: int, journal: Journal) -> range:
    """The range that is inserted into the old file and its tail; `NO_GAP` if there is none.

    Raises RefusedError when the file is not in a state that the edit can have left, and OSError.
    """
    n_bytes, inserted = os.fstat(descriptor).st_size, journal.n_bytes_inserted
    if inserted and n_bytes == journal.n_bytes_new:
        gap = _gap_among(list(holes(descriptor)), journal)
    elif journal.n_bytes_old <= n_bytes <= journal.n_bytes_with_tail:
        gap = NO_GAP
    else:
        gap = None
    start = len(journal.before)
    if gap is None or _samples(descriptor, start, journal, gap) != journal.unmoved_sha256:
        raise RefusedError("the file has changed since its edit was interrupted")
    return gap


def _samples(descriptor: int, start: int, journal: Journal, gap: range) -> str:
    return sample_sha256(descriptor, start, journal.unmoved_n_bytes, gap)


def _gap_among(found: list[range], journal: Journal) -> range | None:
    """The gap among all holes of a file of the greater size; None if other holes exist."""
    inserted = journal.n_bytes_inserted
    if all(hole.stop <= inserted for hole in found):  # what is left of it under the new prefix
        return range(inserted)
    if len(found) == 1 and len(found[0]) == inserted:
        return found[0]
    (hole, *more) = found
    if not more and hole.start >= journal.n_bytes_with_tail:  # nothing has moved yet
        return range(journal.n_bytes_with_tail, journal.n_bytes_new)
    return None


def holes(descriptor: int) -> Iterator[range]:
    """The holes of a sparse file (lseek(2), SEEK_HOLE)."""
    end = os.fstat(descriptor).st_size
    start = os.lseek(descriptor, 0, os.SEEK_HOLE) if end else 0
    while start < end:
        try:
            stop = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError:  # ENXIO: no data behind
            stop = end
        yield range(start, stop)
        start = os.lseek(descriptor, stop, os.SEEK_HOLE) if stop < end else end


def reserve(descriptor: int, offset_in_file: int, n_bytes: int) -> None:
    """Reserve room in a file. Raises OSError when there is none."""
    try:
        fallocate(descriptor, KEEP_SIZE, offset_in_file, n_bytes)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise


def write_at(descriptor: int, data: bytes, offset_in_file: int) -> None:
    """Write all of `data`, through short writes."""
    left = memoryview(data)
    while left:
        n_bytes = os.pwrite(descriptor, left, offset_in_file)
        left, offset_in_file = left[n_bytes:], offset_in_file + n_bytes
