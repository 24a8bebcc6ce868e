"""File systems to edit files on, and models to edit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ggufsurgeon.in_place.steps import FILE_SYSTEMS
from ggufsurgeon.write_plan import CopySpan, WritePlan
from ggufsurgeon.writing.placement.file_systems import file_system_of
from tests.models.builders import U32, block_tensors, gguf, llama_pairs, pair
from tests.writing.mounting import mounted_image, mounted_memory
from tests.writing.plans import plan_over

XFS = ("mkfs.xfs", "-q")
IMAGES: dict[str, tuple[int, tuple[str, ...]]] = {
    "ext4": (32 << 20, ("mkfs.ext4", "-q", "-F")),
    "ext4-1k": (32 << 20, ("mkfs.ext4", "-q", "-F", "-b", "1024")),
    "ext4-bigalloc": (64 << 20, ("mkfs.ext4", "-q", "-F", "-O", "bigalloc", "-C", "16384")),
    "ext3": (32 << 20, ("mkfs.ext4", "-q", "-F", "-O", "^extents,^64bit")),
    "xfs": (320 << 20, (*XFS, "-m", "reflink=0")),
    "xfs-reflink": (320 << 20, (*XFS, "-m", "reflink=1")),
    "btrfs": (128 << 20, ("mkfs.btrfs", "-q")),
    "vfat": (32 << 20, ("mkfs.vfat",)),
}
"""Size of the image in bytes, and the command that makes the file system."""
INSERTING = ("ext4", "ext4-1k", "xfs")
"""Those that edits insert into."""
SHARING = ("xfs-reflink", "btrfs")
"""Those on which a new file shares blocks with the old one."""


@contextmanager
def disk(name: str, folder: Path) -> Iterator[Path]:
    """A file system of a kind: one of `IMAGES`, or tmpfs."""
    if name == "tmpfs":
        with mounted_memory(folder, name, "-o", "size=64m"):
            yield folder
    else:
        n_bytes, make = IMAGES[name]
        with mounted_image(folder, n_bytes, *make):
            yield folder


def skip_unless_inserting(folder: Path) -> None:
    """Skip the test where edits do not insert into files on the machine's own file system."""
    probe = folder / "probe"
    probe.write_bytes(bytes(8192))
    with probe.open("rb") as file:
        kind = file_system_of(file.fileno())
    clone = ["cp", "--reflink=always", str(probe), str(folder / "clone")]
    shares = subprocess.run(clone, capture_output=True).returncode == 0
    for path in (probe, folder / "clone"):
        path.unlink(missing_ok=True)
    if kind not in FILE_SYSTEMS or shares:
        pytest.skip(f"{folder} is on {kind or 'an unknown file system'}, without insertions")


def model_of(n_blocks: int, alignment: int = 32, more: int = 0) -> bytes:
    """A tiny model, with `more` bytes behind its data."""
    pairs = llama_pairs(n_blocks, pair("general.alignment", U32, alignment))
    return gguf(pairs, block_tensors(n_blocks), alignment=alignment) + b"behind! " * (more // 8)


def plan_that_inserts(
    source: Path, n_prefix: int = 40, n_behind: int = 0, n_inserted: int = 8192
) -> WritePlan:
    """A plan of an edit of any file: copies of what stays, and what is behind it last."""
    n_bytes = source.stat().st_size
    unmoved = CopySpan(0, n_prefix, n_bytes - n_prefix - n_behind)
    tail = [CopySpan(0, n_prefix + 5, 3000), CopySpan(0, n_bytes - 700, 700)]
    return plan_over([source], b"h" * (n_prefix + n_inserted), [unmoved, *tail])
