"""Which file system a file is on, by the name that Linux gives it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

LOCAL = (
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "tmpfs", "overlay"),
    *("vfat", "exfat", "ntfs3"),
)
"""Local file systems: locks are visible to all processes that use them, and a file made with
O_TMPFILE can be linked. Others, such as NFS and FUSE, may lack either without an early error."""


def file_system_of(descriptor: int) -> str:
    """The file system type of an open file, such as ext4; empty if unknown.

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
