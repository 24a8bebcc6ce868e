"""Law 5 on real disks that another program fills, so that each step in turn lacks room."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.planning.sharding import in_shards
from tests.writing.mounting import mounted_image
from tests.writing.plans import listing, result_of, sparse_model
from tests.writing.test_full_disk import Meanwhile

pytestmark = pytest.mark.slow

BLOCK_N_BYTES = 1024
MAKE = ["mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(BLOCK_N_BYTES), "-N", "64"]
KINDS = {"ext4": MAKE, "ext3": [*MAKE, "-O", "^extent,^64bit"]}
"""With reservations and without: there a write fails in the middle of the file."""
NAME = "x" * 200
"""Of the new file: too long for what is left of a block of its folder."""


class Way(NamedTuple):
    """A way to write, and what must come of it."""

    write: Callable[[Path, Meanwhile], object]
    expected: dict[str, bytes]
    replaces: bool = False


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Way]:
    folder = tmp_path_factory.mktemp("sources")
    source = gs.open(sparse_model(folder / "source.gguf", 2, 20 << 10))
    planned = source.plan(gs.repeat("0:1"))
    patched = gs.open(planned.write(folder / "patched.gguf"))
    new = result_of(planned.planned.write_plan)
    shards = [result_of(each) for each in in_shards(planned.planned.write_plan, 50_000)]
    names = [f"{NAME}-{n + 1:05d}-of-{len(shards):05d}.gguf" for n in range(len(shards))]

    def write_shards(to: Path, progress: Meanwhile) -> None:
        planned.write_shards(to.with_name(f"{NAME}.gguf"), 50_000, progress=progress)

    return {
        "new": Way(lambda to, told: planned.write(to, progress=told), {NAME: new}),
        "replace": Way(
            lambda to, told: planned.write(to, replace=True, progress=told), {NAME: new}, True
        ),
        "shards": Way(write_shards, dict(zip(names, shards, strict=True))),
        "restore": Way(
            lambda to, told: patched.restore(to, progress=told),
            {NAME: source.path.read_bytes()},
        ),
    }


class Disk:
    """A small disk, with a folder whose block has no room for another long name."""

    def __init__(self, mount: Path, *, is_extentless: bool) -> None:
        self.is_extentless = is_extentless
        """Whether it has no reservations."""
        self.folder = mount / "folder"
        self._filler = mount / "filler"
        self._mount = mount
        self.folder.mkdir()
        (mount / "other").write_bytes(b"")
        for number in range(4):
            (self.folder / f"{number}{'y' * 200}").hardlink_to(mount / "other")
        assert self.folder.stat().st_size == BLOCK_N_BYTES

    def leave(self, n_blocks: int) -> None:
        """Fill the disk but for so many blocks."""
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT)
        for n_bytes in (1 << 16, BLOCK_N_BYTES):
            try:
                while True:
                    os.write(descriptor, bytes(n_bytes))
            except OSError as error:
                assert error.errno == errno.ENOSPC
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, size - n_blocks * BLOCK_N_BYTES)
        os.fsync(descriptor)
        os.close(descriptor)

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)

    def found(self) -> dict[str, object]:
        """What is in the folder besides what was there from the start."""
        return {name: told for name, told in listing(self.folder).items() if name[1] != "y"}


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with mounted_image(tmp_path / "disk", 2 << 20, *KINDS[request.param]) as mount:
        yield Disk(mount, is_extentless=request.param == "ext3")


@pytest.mark.parametrize("name", ["new", "replace", "shards", "restore"])
def test_room_that_ends_at_each_step(disk: Disk, ways: dict[str, Way], name: str) -> None:
    way = ways[name]
    n_needed = -(-sum(map(len, way.expected.values())) // BLOCK_N_BYTES)
    before = {NAME: b"old"} if way.replaces else {}
    went: list[bool] = []
    steps: set[str] = set()
    for n_blocks in (0, 1, n_needed // 2, *range(n_needed - 4, n_needed + 8)):
        disk.make_room()
        for path in disk.found():
            (disk.folder / path).unlink()
        for path, content in before.items():
            (disk.folder / path).write_bytes(content)
        filler = Meanwhile(partial(disk.leave, n_blocks), at_begin=True)
        try:
            way.write(disk.folder / NAME, filler)
        except WriteFailedError as error:
            assert "No space left" in str(error) and "room" in error.hint
            steps.add(step_of(error, filler))
        went.append(disk.found() == way.expected)
        assert went[-1] or disk.found() == before, n_blocks
    assert went == sorted(went) and went[-1] and not went[3], "once there is room it is written"
    assert steps == {"begin", *["publish"] * (not way.replaces), *["write"] * disk.is_extentless}


def test_no_inode_is_left(disk: Disk, ways: dict[str, Way]) -> None:
    """Before the first byte, though there is room."""
    with pytest.raises(OSError, match="No space left"):
        for number in range(100):
            (disk.folder.parent / str(number)).touch()
    for way in ways.values():
        filler = Meanwhile(lambda: None, at_begin=True)
        with pytest.raises(WriteFailedError, match="No space left") as caught:
            way.write(disk.folder / NAME, filler)
        assert "room" in caught.value.hint
        assert (disk.found(), filler.n_bytes) == ({}, 0)


def step_of(error: WriteFailedError, progress: Meanwhile) -> str:
    """Where it failed: links have two names, and reservations fail before the first byte."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.filename2:
        return "publish"
    return "write" if progress.n_bytes else "begin"
