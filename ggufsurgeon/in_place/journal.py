"""The journal of an edit in place: all that is needed to undo it, and to finish it.

It has one line for people, one line of JSON, the bytes of three parts of the model, and the SHA-256
of all these. The journal gets its name when it is complete and synced, and the edit begins only
then: an incomplete journal was damaged later.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.in_place.edit import LARGEST_N_BYTES, InsertingEdit
from ggufsurgeon.writing.new_file import write_bytes
from ggufsurgeon.writing.placement.publishing import sync_folder, sync_folders
from ggufsurgeon.writing.span_writers.copying import read_all

FIRST_LINE = (
    b"ggufsurgeon journal 1: the model beside this file was being edited in place. "
    b"Undo or finish that: ggufsurgeon recover MODEL\n"
)
DIGEST_N_BYTES = 32
MOST_N_BYTES = 3 * LARGEST_N_BYTES + 4096
N_SAMPLES = 16
SAMPLE_N_BYTES = 4096
NO_GAP = range(0)
"""Nothing was inserted."""


@dataclass(frozen=True)
class Journal:
    """An edit, and how to recognise the file that it was editing."""

    unmoved_n_bytes: int
    unmoved_sha256: str
    """SHA-256 of samples of what stays."""
    n_bytes_tail: int
    before: bytes
    """The old prefix: all bytes before the unmoved data."""
    behind: bytes
    """The bytes after the unmoved data in the old file."""
    after: bytes
    """The new prefix."""

    @property
    def n_bytes_inserted(self) -> int:
        """Size of what is inserted at the start."""
        return len(self.after) - len(self.before)

    @property
    def unmoved_end(self) -> int:
        """Where in the old file the data that stay end."""
        return len(self.before) + self.unmoved_n_bytes

    @property
    def n_bytes_old(self) -> int:
        """Size of the old file."""
        return self.unmoved_end + len(self.behind)

    @property
    def n_bytes_with_tail(self) -> int:
        """Size of the file once the tail is there, and before bytes are inserted."""
        return self.unmoved_end + self.n_bytes_tail

    @property
    def n_bytes_new(self) -> int:
        """Size of the new file."""
        return self.n_bytes_with_tail + self.n_bytes_inserted


def journal_of(edit: InsertingEdit, descriptor: int) -> Journal:
    """The journal of an edit of an open file that is as it was. Raises OSError."""
    return Journal(
        edit.unmoved.n_bytes,
        sample_sha256(descriptor, edit.unmoved.offset_in_file, edit.unmoved.n_bytes, NO_GAP),
        edit.n_bytes_tail,
        bytes(read_all(descriptor, 0, edit.unmoved.offset_in_file)),
        bytes(read_all(descriptor, edit.unmoved_end, edit.n_bytes_behind)),
        edit.prefix,
    )


def sample_sha256(descriptor: int, start: int, n_bytes: int, gap: range) -> str:
    """SHA-256 of samples of `n_bytes` bytes from `start` on. Offsets are those in the old file.

    `gap` is the range that was inserted into it.
    """
    digest = hashlib.sha256()
    for number in range(N_SAMPLES):
        first = start + max(n_bytes - SAMPLE_N_BYTES, 0) * number // (N_SAMPLES - 1)
        last = min(first + SAMPLE_N_BYTES, start + n_bytes)
        digest.update(read_around(descriptor, first, last - first, gap))
    return digest.hexdigest()


def read_around(descriptor: int, start: int, n_bytes: int, gap: range) -> bytearray:
    """Bytes of a file as if `gap` were not in it. Raises OSError."""
    middle = min(max(gap.start, start), start + n_bytes)
    data = read_all(descriptor, start, middle - start)
    return data + read_all(descriptor, middle + len(gap), start + n_bytes - middle)


def encode(journal: Journal) -> bytes:
    """The bytes of a journal."""
    parts = journal.before, journal.behind, journal.after
    numbers = {
        "unmoved_n_bytes": journal.unmoved_n_bytes,
        "unmoved_sha256": journal.unmoved_sha256,
        "n_bytes_tail": journal.n_bytes_tail,
        "parts": [len(part) for part in parts],
    }
    content = b"".join((FIRST_LINE, json.dumps(numbers).encode(), b"\n", *parts))
    return content + hashlib.sha256(content).digest()


def decode(content: bytes) -> Journal | None:
    """The journal in these bytes; None if they are not a journal, or a damaged one."""
    content, digest = content[:-DIGEST_N_BYTES], content[-DIGEST_N_BYTES:]
    if not content.startswith(FIRST_LINE) or hashlib.sha256(content).digest() != digest:
        return None
    try:
        end = content.index(b"\n", len(FIRST_LINE))
        numbers = json.loads(content[len(FIRST_LINE) : end])
        before, behind, _ = numbers.pop("parts")
        content = content[end + 1 :]
        parts = content[:before], content[before : before + behind], content[before + behind :]
        journal = Journal(**numbers, before=parts[0], behind=parts[1], after=parts[2])
        is_sound = journal.n_bytes_inserted >= 0 and journal.n_bytes_tail >= len(journal.behind)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    return journal if is_sound else None


def write_journal(journal: Journal, path: Path) -> None:
    """Write a journal and sync it with its folder.

    Raises RefusedError when there is one already, WriteFailedError, and OSError.
    """
    write_bytes(encode(journal), path, replace=False)
    sync_folder(path.parent)


def read_journal(path: Path) -> Journal:
    """Read a journal. Raises RefusedError when it is damaged, OSError when it cannot be read."""
    if not path.is_file():  # reading from a named pipe would not end
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise RefusedError(
            f"{path} is {kind}, where the journal of an edit in place would be",
            hint="No edit leaves that: rename or remove it.",
        )
    with path.open("rb") as file:
        journal = decode(file.read(MOST_N_BYTES))
    if journal is None:
        raise RefusedError(
            f"{path} is damaged, or not a journal of this version",
            hint="The journal was complete before the edit began. Compare the SHA-256 of the model "
            "with that of its original: if they are equal, remove the journal.",
        )
    return journal


def remove_journal(path: Path) -> None:
    """Remove a journal whose edit is finished or undone. Raises OSError.

    If a power cut brings the journal back, `recover` can be run again without harm.
    """
    path.unlink()
    sync_folders([path])
