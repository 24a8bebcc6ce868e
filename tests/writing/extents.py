"""Where the blocks of a file are, as the file system tells (FIEMAP)."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FS_IOC_FIEMAP = 0xC020660B
"""linux/fs.h; structures and flags in linux/fiemap.h."""
SYNC, LAST, SHARED = 1, 1, 0x2000
HEAD, EXTENT = struct.Struct("=QQLLLL"), struct.Struct("=QQQQQLLLL")
AT_ONCE = 100


class Extent(NamedTuple):
    """Bytes of a file that are one behind the other on the disk."""

    offset_in_file: int
    n_bytes: int
    flags: int


def extents(path: Path) -> Iterator[Extent]:
    """All of a file, in order; holes are left out."""
    descriptor, at, flags = os.open(path, os.O_RDONLY), 0, 0
    try:
        while not flags & LAST:
            room = bytearray(HEAD.size + AT_ONCE * EXTENT.size)
            HEAD.pack_into(room, 0, at, (1 << 63) - 1 - at, SYNC, 0, AT_ONCE, 0)
            fcntl.ioctl(descriptor, FS_IOC_FIEMAP, room)
            n_found = HEAD.unpack_from(room)[3]
            if not n_found:
                return
            for n in range(n_found):
                fields = EXTENT.unpack_from(room, HEAD.size + n * EXTENT.size)
                at, flags = fields[0] + fields[2], fields[5]
                yield Extent(fields[0], fields[2], flags)
    finally:
        os.close(descriptor)


def n_bytes_in_shared_extents(path: Path) -> int:
    """Bytes in blocks that another file, or another place in this one, has too."""
    return sum(extent.n_bytes for extent in extents(path) if extent.flags & SHARED)
