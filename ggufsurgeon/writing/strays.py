"""Temporary files of processes that were killed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ggufsurgeon.writing.temporaries import NAME, lock

LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "overlay", "vfat", "exfat")
"""File systems of one machine, whose locks all its processes see (Linux names). On others, such as
NFS and FUSE, a file without a lock may be written on another machine."""


def remove_strays(folders: Iterable[Path]) -> None:
    """Remove the temporary files of this user that no process is writing any more.

    Whoever writes one holds its lock. Failures are of no consequence.
    """
    for folder in set(folders):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if NAME.fullmatch(entry.name):
                    _remove_stray(Path(entry.path))


def _remove_stray(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            if is_ours and file_system_of(descriptor) in LOCAL:
                lock(descriptor, wait=False)  # raises where its writer is alive
                path.unlink()
        finally:
            os.close(descriptor)


def file_system_of(descriptor: int) -> str:
    """The name of the file system that an open file is on, such as ext4; "" where it is not known.

    Found in /proc/self/fdinfo and /proc/self/mountinfo (proc(5)).
    """
    with suppress(OSError, LookupError):
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
        (mount,) = (line.split()[1] for line in lines if line.startswith("mnt_id:"))
        for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
            fields, _, kind = line.partition(b" - ")
            if fields.split()[:1] == [mount.encode()]:
                return kind.split()[0].decode()
    return ""
