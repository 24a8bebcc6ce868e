"""Checks of a destination before the first byte is written."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from ggufsurgeon.container.interrupted_edits import journal_path, recover_command
from ggufsurgeon.errors import RefusedError, UsageError, WriteFailedError
from ggufsurgeon.locating.model_name import model_name, shown_name
from ggufsurgeon.locating.stores.owners import owner_of
from ggufsurgeon.writing.span_writers.copying import SourceReadError

SHARDS_REPLACE_NOTHING = (
    "Shards replace no files, since several cannot be replaced atomically: choose another "
    "destination, or remove them first."
)
SET_WITHOUT_FIRST = (
    "Its first shard is missing, as after a write that was killed: the set is incomplete. Remove "
    "its files, or choose another destination."
)
REPLACE = "Choose another destination, or set the option replace to overwrite it."
FREE_SOME = "Make room there, or choose another destination."


def check_places(sources: Sequence[Path], destinations: Sequence[Path]) -> list[Path]:
    """The paths of the shards to write, with links followed.

    Raises as `check_place`. Files are not replaced, since several cannot be replaced atomically.
    """
    targets = []
    for destination in destinations:
        try:
            targets.append(check_place(sources, destination, replace=False))
        except RefusedError as error:
            if error.hint == REPLACE:
                is_whole = os.path.lexists(destinations[0])
                error.hint = SHARDS_REPLACE_NOTHING if is_whole else SET_WITHOUT_FIRST
            raise
    return targets


def check_place(sources: Iterable[Path], destination: Path, *, replace: bool) -> Path:
    """The file to write, with links followed.

    Raises RefusedError when it is a source, exists (unless `replace`), or exists among the models
    of another program; WriteFailedError when its folder is missing or not writable, and UsageError
    for a name such as `hf://...`, and for standard output.
    """
    target = Path(os.path.realpath(destination))
    status = _status(target)
    if destination == Path("-") or (status is None and destination.exists()):
        raise _not_a_file(destination)
    if status is not None:
        _check_existing(sources, target, status, replace=replace)
    _check_no_journal(target, exists=status is not None)
    folder = target.parent
    if not folder.is_dir():
        if model_name(destination) is not None:
            raise UsageError(
                f"{shown_name(destination)} is a name, and a new file needs a path",
                hint="Write it into a folder; `hf upload` or the program of the scheme takes it "
                "from there.",
            )
        problem = f"{destination}: the folder {folder} does not exist"
        raise WriteFailedError(problem, hint="Make it first: mkdir -p.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteFailedError(
            f"{destination}: {why_not_writable(folder)}", hint="Choose another destination."
        )
    return target


def _not_a_file(destination: Path) -> UsageError:
    """The error for standard output: `-` as in other programs, or /dev/stdout that is a pipe.

    Such a link leads to a pipe that has no path, so that its target looks as if it were missing.
    """
    return UsageError(
        f"{destination} is standard output or a pipe, but the destination must be a file",
        hint="Name the file to write.",
    )


def why_not_writable(folder: Path) -> str:
    """Why no file can be made in a folder that the system does not let us write into."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return f"{folder} is on a file system that is mounted read-only"
    return f"no permission to write into {folder}"


def _check_no_journal(target: Path, *, exists: bool) -> None:
    """Raise RefusedError where no command would open what is written: it has another's journal."""
    journal = journal_path(target)
    if os.path.lexists(journal):
        raise RefusedError(
            f"{target}: an edit in place of a file with this name was interrupted: it has the "
            f"journal {journal.name}",
            hint=f"Undo or finish the edit: {recover_command(target)}"
            if exists
            else "If that file is not needed any more, remove the journal.",
        )


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WriteFailedError(f"{target}: {error.strerror}") from None


def _check_existing(
    sources: Iterable[Path], target: Path, status: os.stat_result, *, replace: bool
) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise RefusedError(f"{target} is a folder; name the file to write")
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{target} is not a regular file")
    for source in sources:
        # By device and inode: also through links, hard links and other spellings of the path.
        if os.path.samestat(status, _status_of_source(source)):
            raise RefusedError(f"{target} is the source {source} itself")
    if not replace:
        raise already_exists(target)
    owner = owner_of(target)
    if owner:
        raise RefusedError(
            f"{target} is among the models of {owner}, which expects it as it is",
            hint="Choose another destination, or remove it there first.",
        )


def _status_of_source(source: Path) -> os.stat_result:
    try:
        return source.stat()
    except OSError as error:
        raise SourceReadError(str(source), None, error) from None


def check_room(n_bytes: int, target: Path) -> None:
    """Raise WriteFailedError when the folder of `target` is too full."""
    n_free = n_free_bytes(target.parent)
    if n_free is not None and n_free < n_bytes:
        raise WriteFailedError(
            f"{target}: needs {n_bytes:,} bytes, {target.parent} has {n_free:,} free",
            hint=FREE_SOME,
        )


def n_free_bytes(folder: Path) -> int | None:
    """Bytes that can still be written into a folder.

    None on mounts that report no size at all, over networks and in memory: only writing tells.
    """
    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else None


def already_exists(target: Path) -> RefusedError:
    """The error for a destination that would be overwritten."""
    return RefusedError(
        f"{target} exists",
        hint=REPLACE,
    )
