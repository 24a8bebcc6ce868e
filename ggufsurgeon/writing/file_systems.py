"""Which file system a file is on, by the name that Linux gives it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

LOCAL = (
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "tmpfs", "overlay"),
    *("vfat", "exfat", "ntfs3"),
)
"""Those of one machine: all its processes see a lock, and what can be made without a name can be
linked. Others, such as NFS and FUSE, may lack either, and say so late or never."""


def file_system_of(descriptor: int) -> str:
    """The file system of an open file, such as ext4; "" where that is not known.

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
