"""Blocks that a new file shares with its sources, where the file system can: nothing is copied.

btrfs and XFS can, and bcachefs, ZFS, overlayfs and NFS 4.2 where what is below them can. A range
is shared where it begins at the same place within a block in both files. Whether a file system can
is known by trying: subvolumes of btrfs have different device numbers, and share all the same.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ggufsurgeon.progress import Progress
from ggufsurgeon.write_plan import CopySpan, WritePlan

FICLONERANGE = 0x4020940D
"""linux/fs.h, on x86 and ARM. PowerPC, MIPS and SPARC number it otherwise: nothing is shared."""
CHUNK_N_BYTES = 1 << 30
"""Asked for at once: btrfs takes a while for a file in many extents, which nothing interrupts."""
USUAL_BLOCK_N_BYTES = 4096
"""What headers are filled for, and what most file systems share by, whatever size they report:
networks report that of their packets."""


class SharedRange(NamedTuple):
    """Whole blocks of a source, and their place in the new file."""

    source: int
    offset_in_source: int
    place: range


def shareable(plan: WritePlan, block_n_bytes: int = USUAL_BLOCK_N_BYTES) -> Iterator[SharedRange]:
    """What the file of a plan can share with its sources, in order, by blocks of such a size."""
    at = len(plan.header)
    for span in plan.spans:
        start = at + -at % block_n_bytes
        at += span.n_bytes
        end = at - at % block_n_bytes
        if not isinstance(span, CopySpan) or end <= start:
            continue
        offset = span.offset_in_file + span.n_bytes - (at - start)
        if offset % block_n_bytes == 0:
            yield SharedRange(span.source, offset, range(start, end))


def share(
    plan: WritePlan, sources: Sequence[int], destination: int, progress: Progress
) -> tuple[range, ...]:
    """Share blocks of open sources; the places in the new file that need no bytes any more.

    Where the file system cannot, as between two file systems, there are none.
    """
    for block_n_bytes in _block_sizes(destination):
        ranges = list(shareable(plan, block_n_bytes))
        shared = tuple(_share_all(ranges, sources, destination, progress))
        if shared:
            return shared
    return ()


def unshared(plan: WritePlan, shared: Sequence[range]) -> tuple[range, ...]:
    """The places in the new file that are not shared, which are to be written."""
    starts = [0, *(place.stop for place in shared)]
    ends = [*(place.start for place in shared), plan.n_bytes]
    return tuple(range(*each) for each in zip(starts, ends, strict=True) if each[0] < each[1])


def _block_sizes(destination: int) -> tuple[int, ...]:
    """The sizes to try, in bytes."""
    reported = os.fstatvfs(destination).f_bsize
    if reported > USUAL_BLOCK_N_BYTES:
        return (USUAL_BLOCK_N_BYTES, reported)
    return (reported or USUAL_BLOCK_N_BYTES,)


def _share_all(
    ranges: Sequence[SharedRange], sources: Sequence[int], destination: int, progress: Progress
) -> Iterator[range]:
    """The places that are shared. A source of which one cannot be is not tried again."""
    refused: set[int] = set()
    has_begun = False
    for source, offset, place in _in_chunks(ranges):
        if source in refused:
            continue
        try:
            clone_range(destination, place.start, sources[source], offset, len(place))
        except OSError:  # whatever it is: copying gives the same bytes, or an error that is told
            refused.add(source)
            continue
        if not has_begun:
            progress.begin("sharing", sum(len(each.place) for each in ranges), "bytes")
            has_begun = True
        progress.advance(len(place))
        yield place


def _in_chunks(ranges: Sequence[SharedRange]) -> Iterator[SharedRange]:
    for source, offset, place in ranges:
        for start in range(0, len(place), CHUNK_N_BYTES):
            yield SharedRange(source, offset + start, place[start : start + CHUNK_N_BYTES])


def clone_range(
    destination: int, offset: int, source: int, offset_in_source: int, n_bytes: int
) -> None:
    """Have `destination` share blocks of `source`; both are file descriptors.

    Raises OSError where the file system cannot: on other file systems than that of the source
    (EXDEV), on those without shared blocks (EOPNOTSUPP, ENOTTY), between blocks (EINVAL).
    """
    what = struct.pack("=qQQQ", source, offset_in_source, n_bytes, offset)
    fcntl.ioctl(destination, FICLONERANGE, what)
