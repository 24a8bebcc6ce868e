"""Undoing or finishing an interrupted edit, by its journal and the state of the file."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from ggufsurgeon.container.interrupted_edits import journal_path
from ggufsurgeon.errors import RefusedError, UsageError, WriteFailedError
from ggufsurgeon.in_place.edit import CannotInsertError
from ggufsurgeon.in_place.hold import BRIEFLY_S, held
from ggufsurgeon.in_place.journal import NO_GAP, Journal, read_journal, remove_journal
from ggufsurgeon.in_place.owners import check_model
from ggufsurgeon.in_place.states import UnknownStateError, find_gap
from ggufsurgeon.in_place.steps import FILE_SYSTEMS, take_out, undo, write_prefix
from ggufsurgeon.writing.placement.file_systems import file_system_of
from ggufsurgeon.writing.placement.reservation import NO_ROOM
from ggufsurgeon.writing.placement.strays import remove_strays


class Recovery(Enum):
    """What became of an edit."""

    NOTHING = "nothing"
    """There was none to undo or finish."""
    UNDONE = "undone"
    """The file is as it was before the edit."""
    FINISHED = "finished"
    """The file is the new one."""


def settle(descriptor: int, journal: Journal) -> Recovery:
    """Finish an edit if only its header remains to be written, and undo it otherwise.

    Can be interrupted and repeated. Raises UnknownStateError when the file is not in a state that
    the edit can have left, RefusedError where the file system cannot undo the edit, and OSError.
    """
    gap = find_gap(descriptor, journal)
    if gap.start == 0 and gap:
        try:
            write_prefix(descriptor, journal)
            return Recovery.FINISHED
        except OSError as error:
            if error.errno not in NO_ROOM or file_system_of(descriptor) not in FILE_SYSTEMS:
                raise  # nothing can be taken out elsewhere
    if gap != NO_GAP:
        take_out(descriptor, journal, gap)
    undo(descriptor, journal)
    return Recovery.UNDONE


def recover(path: Path) -> Recovery:
    """Settle the interrupted edit of a model, if there is one, and remove its journal; and
    temporary files of killed processes beside it.

    Raises RefusedError, with nothing touched, when another process has the model open, or when the
    model or the journal was changed since; WriteFailedError, after which it can be tried again.
    """
    file = journal_path(path)
    try:
        if not path.exists():
            raise UsageError(f"{path}: there is no such file")
        remove_strays([file.parent])
        if not os.path.lexists(file):
            return Recovery.NOTHING
        check_model(path, is_interrupted=True)
        with held(path) as hold, hold.alone(patience_s=BRIEFLY_S):
            journal = read_journal(file)
            outcome = settle(hold.descriptor, journal)
            remove_journal(file)
            return outcome
    except UnknownStateError as error:
        raise RefusedError(
            f"{path}: its journal {file.name} does not belong to it: {error}", hint=error.hint
        ) from None
    except CannotInsertError as error:
        raise RefusedError(f"{path}: {error}", hint="Run this as the owner of the file.") from None
    except OSError as error:
        failed = WriteFailedError(f"{path}: {error.strerror or error}")
        failed.state, failed.hint = "The journal is kept.", "Run recover again."
        raise failed from None
