"""The state in which an interrupted edit has left a file, found from its bytes and the journal.

The bytes decide, not the inode: the model and its journal may have been copied to another folder or
disk. The holes decide only where nothing else can, since a copy may have zeros where the file had a
hole, and holes where it had zeros.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ggufsurgeon.in_place.journal import NO_GAP, Journal, read_around, sample_sha256
from ggufsurgeon.writing.span_writers.copying import read_all

IF_VALID = "If the model is valid, for instance downloaded again, remove the journal."
OTHER_HEADER = "it has the header of neither the old nor the new model"
OTHER_DATA = "it has other data than the model that was edited"


class UnknownStateError(Exception):
    """Why a file is not in a state that the edit can have left, and what to do next."""

    def __init__(self, reason: str, hint: str = IF_VALID) -> None:
        super().__init__(reason)
        self.hint = hint


def find_gap(descriptor: int, journal: Journal) -> range:
    """The range that is inserted into the old file and its tail; `NO_GAP` if there is none.

    Raises UnknownStateError when the file is not in a state that the edit can have left, and
    OSError.
    """
    n_bytes = os.fstat(descriptor).st_size
    if journal.n_bytes_inserted and n_bytes == journal.n_bytes_new:
        return _find_inserted(descriptor, journal)
    if not journal.n_bytes_old <= n_bytes <= journal.n_bytes_with_tail:
        raise UnknownStateError(f"its size, {n_bytes:,} bytes, is none that the edit can have left")
    if not _has_prefix(descriptor, journal, NO_GAP):
        raise UnknownStateError(OTHER_HEADER)
    if not _has_data(descriptor, journal, NO_GAP):
        raise UnknownStateError(OTHER_DATA)
    return NO_GAP


def _find_inserted(descriptor: int, journal: Journal) -> range:
    """The gap in a file that has the size after the insertion."""
    possible = [
        range(journal.n_bytes_inserted),
        range(journal.n_bytes_with_tail, journal.n_bytes_new),  # nothing has moved yet
        *_hole_of(descriptor, journal.n_bytes_inserted),
    ]
    fitting = [gap for gap in possible if _has_prefix(descriptor, journal, gap)]
    if not fitting:
        raise UnknownStateError(OTHER_HEADER)
    for gap in fitting:
        if _has_data(descriptor, journal, gap) and (not gap.start or _is_empty(descriptor, gap)):
            return gap
    raise UnknownStateError(
        f"{OTHER_DATA}, or is a copy without the hole of an insertion that a power cut interrupted",
        f"{IF_VALID} If it is a copy, run recover on the file that was copied, or copy that with "
        "its holes, as cp does.",
    )


def _has_prefix(descriptor: int, journal: Journal, gap: range) -> bool:
    """Whether each byte before the data is that of the old or of the new file: a write may have
    been interrupted."""
    inserted = journal.n_bytes_inserted
    if gap.start == 0 and gap:  # the new prefix is written over the gap and the old prefix
        return _is_between(
            read_all(descriptor, 0, len(journal.after)),
            bytes(inserted) + journal.before,
            journal.after,
        )
    found = read_around(descriptor, 0, len(journal.before), gap)
    return _is_between(found, journal.before, journal.after[inserted:])


def _is_between(found: bytes | bytearray, old: bytes, new: bytes) -> bool:
    """Whether each byte is one of two."""
    if found in (old, new):
        return True
    import numpy as np  # takes 0.1 s to import: only when it is needed

    each, before, after = (np.frombuffer(data, np.uint8) for data in (found, old, new))
    return bool(((each == before) | (each == after)).all())


def _has_data(descriptor: int, journal: Journal, gap: range) -> bool:
    """Whether samples of the data that stay are those of the edited file."""
    start, n_bytes = len(journal.before), journal.unmoved_n_bytes
    return sample_sha256(descriptor, start, n_bytes, gap) == journal.unmoved_sha256


def _is_empty(descriptor: int, gap: range) -> bool:
    """Whether a range is a hole, or zeros."""
    return not any(read_all(descriptor, gap.start, len(gap)))


def _hole_of(descriptor: int, n_bytes: int) -> list[range]:
    """The only hole of a file, if it has this size."""
    found = list(holes(descriptor))
    return [hole for hole in found if len(found) == 1 and len(hole) == n_bytes]


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
