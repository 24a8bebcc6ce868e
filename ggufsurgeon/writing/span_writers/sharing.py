"""Sharing blocks of the sources with a new file (reflinks), so that they need not be copied.

btrfs and XFS support this, and bcachefs, ZFS, overlayfs and NFS 4.2 in some configurations. A range
can be shared if its offset within a block is the same in both files. Support is found by trying,
not by device numbers: subvolumes of btrfs have different ones, but can share blocks.
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
"""linux/fs.h, on x86 and ARM. The number differs on PowerPC, MIPS and SPARC, which do not share."""
CHUNK_N_BYTES = 1 << 30
"""Bytes per call: on btrfs, a call on many extents takes long and cannot be interrupted."""
USUAL_BLOCK_N_BYTES = 4096
"""The block size that headers are padded for, and the unit in which most file systems share. They
may report another size: network file systems report their transfer size."""


class SharedRange(NamedTuple):
    """Whole blocks of a source, and their place in the new file."""

    source: int
    offset_in_source: int
    place: range


def shareable(plan: WritePlan, block_n_bytes: int = USUAL_BLOCK_N_BYTES) -> Iterator[SharedRange]:
    """The ranges of a planned file that can share such blocks with its sources, in order."""
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
    """Share blocks of open sources. Returns the ranges of the new file that are shared.

    There are none if the file system does not support it, or the files are on different ones.
    """
    for block_n_bytes in _block_sizes(destination):
        ranges = list(shareable(plan, block_n_bytes))
        shared = tuple(_share_all(ranges, sources, destination, progress))
        if shared:
            return shared
    return ()


def unshared(plan: WritePlan, shared: Sequence[range]) -> tuple[range, ...]:
    """The ranges of the new file that are not shared and must be written."""
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
    """The ranges that are shared. After a failure, the same source is not tried again."""
    refused: set[int] = set()
    has_begun = False
    for source, offset, place in _in_chunks(ranges):
        if source in refused:
            continue
        try:
            clone_range(destination, place.start, sources[source], offset, len(place))
        except OSError:  # of any kind: copying gives the same bytes, or reports the error
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
    """Share blocks of `source` with `destination`; both are file descriptors (FICLONERANGE).

    Raises OSError if they are on different file systems (EXDEV), if the file system has no reflinks
    (EOPNOTSUPP, ENOTTY), or if the range is not aligned to blocks (EINVAL).
    """
    what = struct.pack("=qQQQ", source, offset_in_source, n_bytes, offset)
    fcntl.ioctl(destination, FICLONERANGE, what)
