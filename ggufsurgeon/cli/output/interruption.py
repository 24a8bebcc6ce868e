"""What a command that was interrupted says of the files that it was to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ggufsurgeon.cli.interrupted import Interrupted

SHARD_SUFFIX = "-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9].gguf"


@contextmanager
def telling_of(destination: Path) -> Iterator[None]:
    """Within the block, an interruption says whether the destination, or its shards, are there.

    They appear at the end, complete, or not at all: a new file at the name shows which.
    """
    before = _files_at(destination)
    try:
        yield
    except Interrupted as interrupt:
        is_written = _files_at(destination) != before
        told = "written and complete" if is_written else "unchanged"
        interrupt.state = f"The destination is {told}. {interrupt.state}".rstrip()
        raise


def _files_at(destination: Path) -> dict[Path, tuple[int, int]]:
    """The device and inode of the destination, and of files with the names of its shards."""
    stem = destination.name.removesuffix(".gguf")
    found = {}
    for path in (destination, *_shards_at(destination.parent, stem)):
        with suppress(OSError, ValueError):
            status = path.stat()
            found[path] = (status.st_dev, status.st_ino)
    return found


def _shards_at(folder: Path, stem: str) -> list[Path]:
    with suppress(OSError, ValueError):
        return [p for p in folder.glob(f"*{SHARD_SUFFIX}") if p.name.startswith(f"{stem}-")]
    return []
