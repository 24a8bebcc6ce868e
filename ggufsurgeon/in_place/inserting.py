"""An edit in place by inserting file-system blocks before the data."""

from __future__ import annotations

import os
from pathlib import Path

from ggufsurgeon.container.interrupted_edits import journal_path, recover_command
from ggufsurgeon.errors import RefusedError, WriteFailedError
from ggufsurgeon.in_place.edit import CannotInsertError, InsertingEdit
from ggufsurgeon.in_place.hold import BRIEFLY_S, Hold
from ggufsurgeon.in_place.journal import (
    Journal,
    encode,
    journal_of,
    remove_journal,
    write_journal,
)
from ggufsurgeon.in_place.recovery import Recovery, settle
from ggufsurgeon.in_place.states import UnknownStateError, holes
from ggufsurgeon.in_place.steps import (
    FILE_SYSTEMS,
    INSERT_RANGE,
    NOT_HERE,
    append_tail,
    insert,
    write_prefix,
)
from ggufsurgeon.progress import Progress
from ggufsurgeon.writing.failures import write_failed
from ggufsurgeon.writing.placement.file_systems import file_system_of
from ggufsurgeon.writing.placement.preflight import check_room
from ggufsurgeon.writing.placement.reservation import NO_ROOM, fallocate
from ggufsurgeon.writing.span_writers.copying import SourceReadError

LONGEST_NAME_N_BYTES = 255
"""On ext4 and XFS."""
SLACK_N_BYTES = 1 << 20
"""Spare bytes for metadata of the file system and of the journal."""


def check_insertable(edit: InsertingEdit, hold: Hold) -> None:
    """Raise CannotInsertError where an edit cannot be done by inserting, RefusedError when another
    process has the file open, WriteFailedError when there is no room, and OSError."""
    descriptor = hold.descriptor
    if file_system_of(descriptor) not in FILE_SYSTEMS:
        raise CannotInsertError("bytes can be inserted into files only on ext4 and XFS")
    if len(os.fsencode(journal_path(hold.path).name)) > LONGEST_NAME_N_BYTES:
        raise CannotInsertError("the name of its journal would be too long")
    if list(holes(descriptor)):
        raise CannotInsertError("the file has holes (it is sparse)")
    n_bytes_journal = edit.unmoved.offset_in_file + edit.n_bytes_behind + len(edit.prefix)
    check_room(edit.n_bytes_written + n_bytes_journal + SLACK_N_BYTES, hold.path.resolve())
    _try(edit.n_bytes_inserted, hold.path.resolve().parent)
    with hold.alone(patience_s=BRIEFLY_S):
        pass


def _try(n_bytes: int, folder: Path) -> None:
    """Insert bytes into a file without a name. Raises CannotInsertError, OSError."""
    if not n_bytes:
        return
    try:
        descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o600)
        try:
            os.write(descriptor, b"x")
            fallocate(descriptor, INSERT_RANGE, 0, n_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise CannotInsertError(
            f"this file system cannot insert {n_bytes:,} bytes ({error.strerror})"
        ) from None


def edit_by_inserting(edit: InsertingEdit, hold: Hold, progress: Progress) -> None:
    """Carry out an edit of an unchanged file.

    If an error or a signal interrupts the edit, it is finished if only the header remains to be
    written, and undone otherwise. An error of the system is not raised if the edit could be
    finished. Raises RefusedError when another process has opened the file meanwhile,
    CannotInsertError when the file system cannot insert after all, and WriteFailedError.
    """
    path = hold.path
    file = journal_path(path)
    try:
        journal = journal_of(edit, hold.descriptor)
        try:
            write_journal(journal, file)
            append_tail(hold.descriptor, edit, journal, progress)
            with hold.alone():
                insert(hold.descriptor, journal)
                write_prefix(hold.descriptor, journal)
            remove_journal(file)
        except BaseException as error:
            finished = _settle(hold, journal, error)
            _remove_journal(path, journal, finished)
            if not (finished and isinstance(error, OSError)):
                raise
    except OSError as error:
        if error.errno in NOT_HERE:
            raise CannotInsertError(f"inserting failed ({error.strerror})") from None
        if isinstance(error, SourceReadError):
            error.source = str(path)
        raise write_failed(path, error) from error


def _remove_journal(path: Path, journal: Journal, finished: bool) -> None:
    """Remove the journal of an interrupted edit if it was written, but not that of another edit."""
    file = journal_path(path)
    try:
        if os.path.lexists(file) and file.read_bytes() == encode(journal):
            remove_journal(file)
    except OSError as error:
        failed = WriteFailedError(
            f"{file}: the journal cannot be removed: {error.strerror}",
            hint=f"Once the cause is gone: {recover_command(path)}",
        )
        now = "patched" if finished else "unchanged"
        failed.state = f"The model is {now}, and cannot be opened while its journal exists."
        raise failed from None


def _settle(hold: Hold, journal: Journal, error: BaseException) -> bool:
    """Undo or finish an edit at once; True if it was finished. Raises WriteFailedError when neither
    is possible."""
    try:
        return settle(hold.descriptor, journal) is Recovery.FINISHED
    except (OSError, RefusedError, UnknownStateError) as second:
        failed = WriteFailedError(
            f"{hold.path}: the edit failed ({error}), and could not be undone ({second})",
            hint=f"Once the cause is gone: {recover_command(hold.path)}",
        )
        failed.state = "The model may be neither the old nor the new one; its journal is beside it."
        raise failed from error
