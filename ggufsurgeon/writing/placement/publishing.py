"""Giving complete files their names, atomically and durably."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from ggufsurgeon.writing.placement.preflight import already_exists
from ggufsurgeon.writing.placement.temporaries import Temporary

AT_FDCWD = -100
"""Paths are relative to the current folder (linux/fcntl.h)."""
RENAME_NOREPLACE = 1
"""linux/fs.h"""


def publish(file: Temporary, *, replace: bool) -> str:
    """Give a complete file its name. Returns a warning if it could not get the old permissions.

    Raises RefusedError if the destination exists by now, unless `replace`, and OSError.
    """
    if replace:
        lost = _keep_permissions(file)
        file.give_name().replace(file.target)
        return lost
    try:
        # A link, not a rename: it fails when somebody made the destination in the meantime.
        file.link(file.target)
    except FileExistsError:
        raise already_exists(file.target) from None
    except OSError:  # no hard links on this file system
        if not file.is_named:
            raise
        _rename_to_new(file)
    return ""


def publish_all(files: Sequence[Temporary]) -> None:
    """Publish files from the last to the first. If one fails, all are removed again.

    Raises as `publish`. The others are durable before the first is published.
    """
    made = [os.fstat(file.descriptor) for file in files]
    try:
        for file in reversed(files):
            if file is files[0]:
                sync_folders(file.target for file in files)
            publish(file, replace=False)
    except BaseException:
        for file, status in zip(files, made, strict=True):
            _withdraw(file.target, status)
        raise


def _withdraw(target: Path, status: os.stat_result) -> None:
    """Remove a published file, but not a file that another process made in the meantime."""
    with suppress(OSError):
        if os.path.samestat(target.stat(), status):
            target.unlink()


def _rename_to_new(file: Temporary) -> None:
    """Rename a file without replacing a file that another process made under that name."""
    try:
        _rename_no_replace(file.path, file.target)
    except FileExistsError:
        raise already_exists(file.target) from None
    except OSError:  # not on this system or file system
        if os.path.lexists(file.target):
            raise already_exists(file.target) from None
        file.path.rename(file.target)


def _rename_no_replace(path: Path, target: Path) -> None:
    """Call renameat2(2). Raises OSError, with ENOSYS where there is none."""
    call = _system_renameat2()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = os.fsencode(path), os.fsencode(target)
    if call(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _system_renameat2() -> Any:
    """The function of the C library; None where there is none, as before glibc 2.28."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        kinds = ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
        function.argtypes = list(kinds)
    return function


def _keep_permissions(file: Temporary) -> str:
    """Give the new file the permissions of the old one; the returned text says if that failed."""
    try:
        old = file.target.stat().st_mode
    except FileNotFoundError:
        return ""
    new = os.fstat(file.descriptor).st_mode
    if stat.S_IMODE(old) == stat.S_IMODE(new):
        return ""
    try:
        os.fchmod(file.descriptor, stat.S_IMODE(old))
    except OSError as error:  # mounts of Windows and of networks may have permissions of their own
        return (
            f"{file.target} is written, with permissions {stat.filemode(new)} instead of "
            f"{stat.filemode(old)}: they cannot be changed there ({error.strerror})"
        )
    return ""


def sync_folders(targets: Iterable[Path]) -> None:
    """Make the names of files durable. The files are complete by now: a failure changes none."""
    for folder in {target.parent for target in targets}:
        with suppress(OSError):
            sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
