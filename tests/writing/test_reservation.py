"""Files for which no room can be reserved, or whose size is limited, on real file systems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama_perplexity.logits_file import opened_logits_writer
from tests.calls import patch, plan
from tests.models.builders import llama_model
from tests.writing.mounting import mounted_image, mounted_memory
from tests.writing.plans import Watcher, listing, result_of, sparse_model
from tests.writing.tracing import traced

PATH = LayerPath.of([0, 1, 1, 2])
GIB = 1 << 30


class NoByte(Watcher):
    """Ends the writing of large files at their first byte."""

    def advance(self, n: int, note: str = "") -> None:
        raise AssertionError("a byte was written")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(llama_model(3))
    return path


@pytest.mark.parametrize("error", ["EOPNOTSUPP", "EIO"])
def test_nothing_is_written_in_place_of_a_reservation(source: Path, error: str) -> None:
    """glibc's posix_fallocate would write a byte into each block."""
    trace, inject = "fallocate,pwrite64", f"fallocate:error={error}"
    arguments = ("patch", "model.gguf", "new.gguf", "--window", "1:2")
    program = traced(source.parent, trace, inject, *arguments)
    assert program.done.returncode == 0, program.done.stderr
    assert len(program.of("fallocate")) == 1 and not program.of("pwrite64")
    assert (source.parent / "new.gguf").read_bytes() == result_of(plan(source, PATH).write_plan)


def test_a_reservation_that_a_signal_interrupts_is_asked_for_again(source: Path) -> None:
    arguments = ("patch", "model.gguf", "new.gguf", "--window", "1:2")
    inject = "fallocate:error=EINTR:when=1..2"
    program = traced(source.parent, "fallocate", inject, *arguments)
    assert program.done.returncode == 0, program.done.stderr
    results = [call.split("= ")[-1].split()[0] for call in program.of("fallocate")]
    assert results[:2] == ["-1", "-1"] and len(results) == 3


@pytest.mark.parametrize("error", ["ENOSPC", "EFBIG"])
def test_no_room_is_told_before_the_first_byte(source: Path, error: str) -> None:
    trace, inject = "fallocate,sendfile", f"fallocate:error={error}"
    arguments = ("patch", "model.gguf", "new.gguf", "--window", "1:2")
    program = traced(source.parent, trace, inject, *arguments)
    assert (program.done.returncode, program.of("sendfile")) == (5, [])
    assert "The destination is as it was." in program.done.stderr
    assert set(listing(source.parent)) == {"model.gguf", "strace.log"}


LARGEST = {
    "vfat": ((1 << 32) - 1, ["mkfs.vfat", "-F", "32"]),
    # Blocks of 1 KiB without extents, as on ext3: 16 GiB a file, and no reservations either.
    "ext3": (
        16 * GIB,
        ["mkfs.ext4", "-q", "-F", "-b", "1024", "-N", "1024", "-O", "^extent,^64bit"],
    ),
}


@pytest.fixture(params=LARGEST)
def limited(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """An empty folder, and the size that no file in it may have."""
    limit, make = LARGEST[request.param]
    with mounted_image(tmp_path / "disk", limit + 8 * GIB, *make) as disk:
        (disk / "folder").mkdir()
        yield disk / "folder", limit


def test_too_large_for_the_file_system(limited: tuple[Path, int], tmp_path: Path) -> None:
    folder, limit = limited
    source = sparse_model(tmp_path / "large.gguf", 3, limit // 3 // 32 * 32)
    with pytest.raises(WriteFailedError, match=r"cannot hold a file of \d+,\d+") as caught:
        patch(source, folder / "new.gguf", PATH, progress=NoByte())
    assert caught.value.exit_code == 5 and "FAT32" in caught.value.hint
    assert listing(folder) == {}


def test_logits_too_large_for_the_file_system(limited: tuple[Path, int]) -> None:
    """Each chunk has 3 rows of 2 GiB."""
    folder, limit = limited
    tokens = np.zeros((1 + limit // (6 * GIB), 8), np.int32)
    with (
        pytest.raises(WriteFailedError, match="cannot hold a file of"),
        opened_logits_writer(folder / "logits", tokens, 1 << 30),
    ):
        raise AssertionError("it was to be known before")
    assert (folder / "logits").stat().st_size == 0


def test_below_that_size_it_is_written(limited: tuple[Path, int], tmp_path: Path) -> None:
    folder, _ = limited
    source = sparse_model(tmp_path / "small.gguf", 3, 4 << 20)
    watcher = Watcher()
    patch(source, folder / "new.gguf", PATH, progress=watcher)
    result = result_of(plan(source, PATH).write_plan)
    assert (folder / "new.gguf").read_bytes() == result
    assert sum(watcher.advances) == len(result)


def test_a_file_system_that_does_not_say_how_large_it_is(source: Path, tmp_path: Path) -> None:
    """As mounts over networks; ramfs reports 0 blocks, of which 0 are free."""
    with mounted_memory(tmp_path / "disk", "ramfs") as disk:
        patch(source, disk / "new.gguf", PATH)
        assert (disk / "new.gguf").read_bytes() == result_of(plan(source, PATH).write_plan)
