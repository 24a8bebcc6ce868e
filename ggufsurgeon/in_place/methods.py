"""The ways to edit a model in place, and the choice between them: all give the same bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.in_place.edit import CannotInsertError, InsertingEdit, find_edit
from ggufsurgeon.in_place.hold import Hold, held
from ggufsurgeon.in_place.inserting import check_insertable, edit_by_inserting
from ggufsurgeon.in_place.owners import check_model
from ggufsurgeon.in_place.processes import users_of
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.write_plan import WritePlan
from ggufsurgeon.writing.failures import write_failed
from ggufsurgeon.writing.new_file import write_new_file
from ggufsurgeon.writing.placement.preflight import n_free_bytes
from ggufsurgeon.writing.span_writers.sharing import USUAL_BLOCK_N_BYTES, clone_range, shareable
from ggufsurgeon.writing.span_writers.sources import check_header


@dataclass(frozen=True)
class InPlaceMethod:
    """How a file is edited: by inserting, or by a new file that takes its place.

    The new file shares blocks with the old one where the file system can.
    """

    path: Path
    plan: WritePlan
    edit: InsertingEdit | None
    """What is inserted and appended; None for a new file."""
    n_bytes_shared: int = 0
    """Bytes of a new file in blocks shared with the old one. They are not written."""
    why_new_file: str = ""
    """Why nothing is inserted, where nothing is shared either."""
    readers: tuple[str, ...] = field(default=(), compare=False)
    """Processes that have the old file open, and keep reading it."""

    @property
    def n_bytes_inserted(self) -> int:
        """Size of what is inserted before the data."""
        return self.edit.n_bytes_inserted if self.edit else 0

    @property
    def n_bytes_written(self) -> int:
        """Size of all that is written."""
        return self.edit.n_bytes_written if self.edit else self.plan.n_bytes - self.n_bytes_shared


def choose_method(plan: WritePlan, path: Path) -> InPlaceMethod:
    """The method to turn the file at `path`, the source of `plan`, into the planned file.

    Changes nothing. Raises RefusedError when the file must not be edited in place, and
    WriteFailedError when it cannot be written, there is no room for what every method needs, or it
    has changed since the plan was made.
    """
    try:
        with _checked(plan, path) as hold:
            return _choose(plan, hold)
    except OSError as error:
        raise write_failed(path, error) from None


def _choose(plan: WritePlan, hold: Hold) -> InPlaceMethod:
    """Sharing is preferred: it needs no journal, and does not affect other processes."""
    n_bytes_shared = _n_bytes_shared(plan, hold)
    if n_bytes_shared > plan.n_bytes // 2:
        return _new_file(plan, hold, n_bytes_shared)
    try:
        edit = find_edit(plan)
        check_insertable(edit, hold)
        return InPlaceMethod(hold.path, plan, edit)
    except CannotInsertError as error:
        return _new_file(plan, hold, 0, str(error))


def _n_bytes_shared(plan: WritePlan, hold: Hold) -> int:
    """Bytes that a new file will share with the old one, found by sharing one block as a test."""
    ranges = list(shareable(plan))
    if not ranges or not hasattr(os, "O_TMPFILE"):
        return 0
    try:
        descriptor = os.open(hold.path.resolve().parent, os.O_RDWR | os.O_TMPFILE, 0o600)
        try:
            offset = ranges[0].offset_in_source
            clone_range(descriptor, 0, hold.descriptor, offset, USUAL_BLOCK_N_BYTES)
        finally:
            os.close(descriptor)
    except OSError:
        return 0
    return sum(len(each.place) for each in ranges)


def _new_file(plan: WritePlan, hold: Hold, n_bytes_shared: int, why: str = "") -> InPlaceMethod:
    """Raises WriteFailedError where there is no room for what a new file needs."""
    n_free, n_needed = n_free_bytes(hold.path.resolve().parent), plan.n_bytes - n_bytes_shared
    if n_free is not None and n_free < n_needed:
        because = f": {why}" if why else ""
        raise WriteFailedError(
            f"{hold.path} cannot be edited in place{because}; and there is no space for a new file "
            f"to replace it ({n_needed:,} bytes needed, {n_free:,} free)",
            hint="Free disk space there, or patch to a new file on another disk.",
        )
    return InPlaceMethod(hold.path, plan, None, n_bytes_shared, why, tuple(users_of(hold.status)))


def edit_in_place(plan: WritePlan, path: Path, progress: Progress = NO_PROGRESS) -> InPlaceMethod:
    """Turn the file at `path`, the source of `plan`, into the planned file; returns the method.

    Raises what `choose_method` does, and WriteFailedError; the file is then unchanged, unless the
    error says that it must be recovered. Warns (PermissionsWarning) when a new file replaces it
    that cannot be given its permissions.
    """
    try:
        with _checked(plan, path) as hold:
            method = _choose(plan, hold)
            if method.edit is not None:
                try:
                    edit_by_inserting(method.edit, hold, progress)
                    return method
                except CannotInsertError as error:  # undone: another way is left
                    method = _new_file(plan, hold, 0, str(error))
            written = write_new_file(plan, path, replace=True, over_source=True, progress=progress)
            _keep_owner(path, hold.status)
            return replace(method, n_bytes_shared=written.n_bytes_shared)
    except OSError as error:
        raise write_failed(path, error) from None


@contextmanager
def _checked(plan: WritePlan, path: Path) -> Iterator[Hold]:
    """A hold on the source of a plan, which may be changed."""
    check_model(path)
    with held(path) as hold:
        check_model(path)  # an edit may have begun in between
        check_header(plan.sources[0], hold.descriptor, "has changed since it was read")
        yield hold


def _keep_owner(path: Path, old: os.stat_result) -> None:
    """Give a new file the owner of the one that it replaced, where that is allowed."""
    with suppress(OSError):
        new = path.stat()
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            os.chown(path, old.st_uid, old.st_gid)
