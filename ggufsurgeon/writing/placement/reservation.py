"""Room for a file of known size, asked for before its first byte is written."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from ggufsurgeon.errors import WriteFailedError

KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE (linux/falloc.h): reserve blocks, and leave the size of the file alone.

Without it vfat fills the file with zeros instead, in one call that only SIGKILL ends
(fs/fat/file.c, fat_fallocate)."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""Errors that writing would end in too. After most others the file is written without a
reservation: exFAT, NTFS over FUSE, NFS before 4.2 and older ZFS have none."""
FAT_LIMIT_N_BYTES = (1 << 32) - 1
"""Of a file on FAT (fs/fat/inode.c, s_maxbytes)."""


def reserve_new(descriptor: int, places: Iterable[range], n_bytes: int, destination: Path) -> None:
    """Reserve the blocks of a new file: faster, in one extent, and a full disk shows at once.

    `places` are the ranges that will be written; the others share blocks with other files. Raises
    WriteFailedError when the file system does not allow a file of `n_bytes`, and OSError when there
    is no space. Does nothing where the file system does not support reservations.
    """
    check_size(descriptor, n_bytes, str(destination), destination.parent)
    try:
        reserve(descriptor, places)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise _too_large(n_bytes, str(destination), destination.parent) from None
        raise


def reserve(descriptor: int, places: Iterable[range]) -> None:
    """Reserve the blocks of ranges of a file, whose size stays.

    Raises OSError when there is no space or the file would be too large. Does nothing where the
    file system does not support reservations.
    """
    try:
        for place in places:
            fallocate(descriptor, KEEP_SIZE, place.start, len(place))
    except OSError as error:
        if error.errno in (*NO_ROOM, errno.EFBIG):
            raise


def fallocate(descriptor: int, mode: int, offset: int, n_bytes: int) -> None:
    """Call fallocate(2). Raises OSError, with ENOSYS where the system is not Linux.

    `os.posix_fallocate` will not do: where a file system has no reservations, glibc writes a byte
    into every block, in one call without progress that Ctrl-C does not end.
    """
    call = _system_fallocate()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while call(descriptor, mode, offset, n_bytes):
        number = ctypes.get_errno()
        if number != errno.EINTR:  # a signal, whose handler has not raised: again
            raise OSError(number, os.strerror(number))


@cache
def _system_fallocate() -> Any:
    """The function of the C library, with 64 bits for offsets; None where there is none."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return function


def check_size(descriptor: int, n_bytes: int, what: str, folder: Path) -> None:
    """Raise WriteFailedError when no file in `folder` can have `n_bytes`; `what` it is of.

    The file, which is open at its beginning, stays as it is.
    """
    limit = _limit_of_process()
    if limit is not None and n_bytes > limit:
        raise WriteFailedError(
            f"{what}: {n_bytes:,} bytes are needed; this process may write files of up to "
            f"{limit:,} (ulimit -f)",
            hint="Raise the limit (ulimit -f unlimited) and try again.",
        )
    try:
        # Nothing is written: the kernel refuses a place behind the end of the largest file.
        os.lseek(descriptor, n_bytes, os.SEEK_SET)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EFBIG, errno.EOVERFLOW):
            raise
        raise _too_large(n_bytes, what, folder) from None
    os.lseek(descriptor, 0, os.SEEK_SET)


def _too_large(n_bytes: int, what: str, folder: Path) -> WriteFailedError:
    problem = f"{what}: the file system of {folder} cannot hold a file of {n_bytes:,} bytes"
    hint = "Choose a destination on another file system."
    if n_bytes > FAT_LIMIT_N_BYTES:
        largest = f"{FAT_LIMIT_N_BYTES:,} bytes"
        hint = f"FAT32, as on many USB sticks, holds files of up to {largest}. {hint}"
    return WriteFailedError(problem, hint=hint)


def _limit_of_process() -> int | None:
    with suppress(ImportError):
        import resource  # not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        return None if limit == resource.RLIM_INFINITY else limit
    return None
