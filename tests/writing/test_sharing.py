"""Laws 4 and 5 where blocks are shared: the same bytes as by copying, on real XFS and btrfs."""

from __future__ import annotations

import errno
import fcntl
import filecmp
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ggufsurgeon as gs
from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.write_plan import CopySpan, ScaleSpan, Span, WritePlan, Written, ZeroSpan
from ggufsurgeon.writing.new_file import write_new_file, write_new_shards
from ggufsurgeon.writing.span_writers import sharing
from ggufsurgeon.writing.span_writers.sharing import SharedRange, shareable, unshared
from tests.conftest import Run
from tests.writing.extents import n_bytes_in_shared_extents
from tests.writing.mounting import mounted_image, run
from tests.writing.plans import Watcher, listing, plan_over, result_of, spans, sparse_model
from tests.writing.test_faults import PREFLIGHT, WRITING, Faults, n_descriptors

BLOCK = 4096
SIZES = (20 * BLOCK + 100, 5 * BLOCK)
FILE_SYSTEMS = {"xfs": 320 << 20, "btrfs": 256 << 20}


@pytest.fixture(scope="module", params=FILE_SYSTEMS)
def disk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A file system that shares blocks, with two sources on it, of random bytes."""
    folder = tmp_path_factory.mktemp("sharing") / "disk"
    with mounted_image(folder, FILE_SYSTEMS[request.param], f"mkfs.{request.param}", "-q"):
        for index, n_bytes in enumerate(SIZES):
            (folder / f"source-{index}").write_bytes(os.urandom(n_bytes))
        yield folder


@pytest.fixture
def folder(disk: Path) -> Path:
    """An empty folder there."""
    folder = disk / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def over(disk: Path, header: bytes, spans: Sequence[Span]) -> WritePlan:
    return plan_over([disk / f"source-{index}" for index in range(len(SIZES))], header, spans)


def written(plan: WritePlan, destination: Path) -> Written:
    destination.unlink(missing_ok=True)
    told = write_new_file(plan, destination)
    assert destination.read_bytes() == result_of(plan)
    return told


@st.composite
def aligned(draw: st.DrawFn) -> tuple[bytes, list[Span]]:
    """Parts of which copies often start at the same place within a block in both files."""
    header = draw(st.binary(max_size=100))
    at, found = len(header), []
    for span in draw(spans(SIZES)):
        if isinstance(span, CopySpan) and draw(st.booleans()):
            skipped = (at - span.offset_in_file) % BLOCK
            n_bytes = max(span.n_bytes - skipped, 0)
            span = CopySpan(span.source, span.offset_in_file + skipped * bool(n_bytes), n_bytes)
        at += span.n_bytes
        found.append(span)
    return header, found


def n_bytes_shareable(plan: WritePlan) -> int:
    return sum(len(each.place) for each in shareable(plan))


@settings(deadline=None, max_examples=40)  # each is synced to the disk
@given(aligned())
def test_the_same_bytes_as_by_copying(disk: Path, parts: tuple[bytes, list[Span]]) -> None:
    plan = over(disk, *parts)
    told = written(plan, disk / "new")
    assert told == Written(plan.n_bytes, n_bytes_shareable(plan))
    assert n_bytes_in_shared_extents(disk / "new") == told.n_bytes_shared


@given(aligned(), st.sampled_from([512, 1024, BLOCK, 3 * BLOCK]))
def test_what_is_shareable(parts: tuple[bytes, list[Span]], block_n_bytes: int) -> None:
    """In order, without overlaps, whole blocks in both files, and all that there are."""
    header, spans_ = parts
    plan = WritePlan((), header, tuple(spans_))
    ranges = list(shareable(plan, block_n_bytes))
    for source, offset, place in ranges:
        assert not any(n % block_n_bytes for n in (offset, place.start, place.stop)) and place
        (span,) = plan.between(place.start, place.stop)
        assert span == CopySpan(source, offset, len(place))
    places = [each.place for each in ranges]
    rest = unshared(plan, places)
    tiled = sorted([*places, *rest], key=lambda place: place.start)
    assert [0, *(place.stop for place in tiled)] == [
        *(place.start for place in tiled),
        plan.n_bytes,
    ]
    assert all(places)
    for place in rest:
        assert not any(_is_whole_block(span, at, block_n_bytes) for at, span in _at(plan, place))


def _at(plan: WritePlan, place: range) -> Iterator[tuple[int, Span]]:
    at = max(place.start, len(plan.header))
    for span in plan.between(place.start, place.stop):
        yield at, span
        at += span.n_bytes


def _is_whole_block(span: Span, at: int, block_n_bytes: int) -> bool:
    """Whether a copy to `at` holds a block that lies alike in both files."""
    if not isinstance(span, CopySpan) or (at - span.offset_in_file) % block_n_bytes:
        return False
    return -at % block_n_bytes + block_n_bytes <= span.n_bytes


def test_parts_of_several_sources(disk: Path, folder: Path) -> None:
    """Those that lie alike are shared, the others copied."""
    parts: list[Span] = [
        CopySpan(0, BLOCK - 96, 3 * BLOCK),  # the header has as many bytes as are missing
        CopySpan(1, 0, BLOCK),
        ZeroSpan(96),
        CopySpan(1, BLOCK, 2 * BLOCK),
        ScaleSpan(0, 8, BLOCK, "<f4", 2.0),
        CopySpan(0, 5 * BLOCK, 4 * BLOCK),
    ]
    plan = over(disk, bytes(BLOCK - 96), parts)
    assert list(shareable(plan)) == [
        SharedRange(0, BLOCK, range(BLOCK, 3 * BLOCK)),
        SharedRange(1, BLOCK, range(5 * BLOCK, 7 * BLOCK)),
        SharedRange(0, 5 * BLOCK, range(8 * BLOCK, 12 * BLOCK)),
    ]
    assert written(plan, folder / "new") == Written(12 * BLOCK, 8 * BLOCK)


def test_shards_share_what_lies_alike(disk: Path, folder: Path) -> None:
    parts: list[list[Span]] = [
        [CopySpan(0, BLOCK, 8 * BLOCK), CopySpan(1, 0, 3 * BLOCK)],
        [CopySpan(1, 3 * BLOCK + 8, 2 * BLOCK - 8)],
    ]
    plans = [over(disk, bytes(BLOCK), each) for each in parts]
    told = write_new_shards(plans, [folder / "first", folder / "second"])
    assert told == Written(15 * BLOCK - 8, 11 * BLOCK)
    assert listing(folder) == {"first": result_of(plans[0]), "second": result_of(plans[1])}


class Refusing:
    """Clones until a call, and from there on fails like a file system that cannot."""

    def __init__(self, number: int, n_calls: int) -> None:
        self.n_calls = 0
        self._number, self._n_allowed, self._clone = number, n_calls, sharing.clone_range

    def __call__(self, *arguments: int) -> None:
        self.n_calls += 1
        if self.n_calls > self._n_allowed:
            raise OSError(self._number, os.strerror(self._number))
        self._clone(*arguments)


@pytest.mark.parametrize("n_calls", [0, 3])
@pytest.mark.parametrize("error", ["EXDEV", "EINVAL", "ENOSPC"])
def test_what_cannot_be_shared_is_copied(
    disk: Path, folder: Path, error: str, n_calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "CHUNK_N_BYTES", 2 * BLOCK)
    clone = Refusing(getattr(errno, error), n_calls)
    monkeypatch.setattr(sharing, "clone_range", clone)
    plan = over(disk, bytes(BLOCK), [CopySpan(0, 0, 9 * BLOCK), CopySpan(0, BLOCK, 4 * BLOCK)])
    assert written(plan, folder / "new").n_bytes_shared == n_calls * 2 * BLOCK
    assert clone.n_calls == n_calls + 1, "it is not tried again"


def test_another_file_system(disk: Path, tmp_path: Path) -> None:
    plan = over(disk, bytes(BLOCK), [CopySpan(0, 0, 9 * BLOCK)])
    assert written(plan, tmp_path / "new").n_bytes_shared == 0


def test_a_source_elsewhere_does_not_keep_others_from_being_shared(
    disk: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(2 * BLOCK))
    sources = [tmp_path / "elsewhere", disk / "source-1"]
    plan = plan_over(sources, bytes(BLOCK), [CopySpan(n, 0, 2 * BLOCK) for n in (0, 1)])
    assert written(plan, folder / "new").n_bytes_shared == 2 * BLOCK


def test_blocks_larger_than_usual(
    disk: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of XFS with blocks of 64 KiB: what file systems report is tried where 4096 will not do."""
    clone = sharing.clone_range

    def clone_large(*arguments: int) -> None:
        if any(n % (4 * BLOCK) for n in arguments[1::2] + arguments[4:]):
            raise OSError(errno.EINVAL, "Invalid argument")
        clone(*arguments)

    monkeypatch.setattr(sharing, "clone_range", clone_large)
    monkeypatch.setattr(sharing, "_block_sizes", lambda _: (BLOCK, 4 * BLOCK))
    plan = over(disk, bytes(BLOCK), [CopySpan(0, BLOCK, 15 * BLOCK), CopySpan(0, 0, 5 * BLOCK)])
    assert written(plan, folder / "new") == Written(21 * BLOCK, 16 * BLOCK)


def test_progress_tells_sharing_from_writing(
    disk: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate of writing is not that of blocks that are shared."""
    monkeypatch.setattr(sharing, "CHUNK_N_BYTES", 4 * BLOCK)
    watcher = Watcher()
    plan = over(disk, bytes(BLOCK), [CopySpan(0, 0, 9 * BLOCK), CopySpan(0, 8, 100)])
    write_new_file(plan, folder / "new", progress=watcher)
    shared, copied = 9 * BLOCK, BLOCK + 100
    assert watcher.steps == [("sharing", shared, "bytes"), ("writing", copied, "bytes")]
    assert [n for n in watcher.advances if n] == [4 * BLOCK, 4 * BLOCK, BLOCK, BLOCK, 100]


@pytest.mark.parametrize("disk", ["btrfs"], indirect=True)
def test_another_subvolume(disk: Path) -> None:
    """With a device number of its own."""
    assert run("btrfs", "subvolume", "create", disk / "volume") == ""
    assert (disk / "volume").stat().st_dev != disk.stat().st_dev
    plan = over(disk, bytes(BLOCK), [CopySpan(0, 0, 9 * BLOCK)])
    assert written(plan, disk / "volume/new").n_bytes_shared == 9 * BLOCK


def test_a_failing_call(disk: Path, folder: Path) -> None:
    """The n-th of all, for every n until none is left."""
    plan = over(disk, bytes(BLOCK), [CopySpan(0, 0, 9 * BLOCK), CopySpan(0, BLOCK + 1, 99)])
    calls = [*PREFLIGHT, *WRITING, (os, "fstatvfs"), (fcntl, "ioctl")]
    reached: set[str] = set()
    for first in count(1):
        faults, error, n_open = Faults(first, for_good=False), None, n_descriptors()
        with pytest.MonkeyPatch.context() as patched:
            faults.into(calls, patched)
            try:
                write_new_file(plan, folder / "new")
            except WriteFailedError as caught:
                error = caught
        assert listing(folder) == ({} if error else {"new": result_of(plan)}), faults.failed
        assert n_descriptors() == n_open
        (folder / "new").unlink(missing_ok=True)
        if not faults.failed:
            break
        reached.update(faults.failed)
        assert error is None or faults.failed != ["ioctl"], "it can be copied"
    assert {"ioctl", "fstatvfs", "lseek", "fallocate", "fsync"} <= reached


def random_model(path: Path, n_blocks: int, block_n_bytes: int) -> Path:
    """A model without holes, whose blocks differ."""
    sparse_model(path, n_blocks, block_n_bytes)
    start = path.stat().st_size - n_blocks * block_n_bytes
    with path.open("r+b") as file:
        file.seek(start)
        for _ in range(n_blocks):
            file.write(os.urandom(block_n_bytes))
        os.fsync(file.fileno())
    return path


def n_used(folder: Path) -> int:
    """Bytes of the disk that are taken, once all is on it."""
    os.sync()
    figures = os.statvfs(folder)
    return (figures.f_blocks - figures.f_bfree) * figures.f_frsize


MIB = 1 << 20
SLACK = MIB
"""What file systems keep of files besides their bytes, and headers."""


@pytest.mark.parametrize(("odd", "n_copied"), [(0, 0), (32, 2 * (4 * MIB + 32))])
def test_the_disk_takes_what_was_written(
    folder: Path, tmp_path: Path, odd: int, n_copied: int
) -> None:
    """Of duplicates too, where the size of blocks of the model is a multiple of the disk's."""
    source = random_model(folder / "source.gguf", 8, 4 * MIB + odd)
    before = n_used(folder)
    planned = gs.open(source).plan(gs.repeat("2:4"))
    planned.write(folder / "new.gguf")
    grown = n_used(folder) - before
    told = planned.written
    assert told is not None and told.n_bytes == planned.n_bytes
    assert n_copied <= told.n_bytes_written <= n_copied + SLACK
    assert n_bytes_in_shared_extents(folder / "new.gguf") == told.n_bytes_shared
    assert n_copied <= grown <= n_copied + SLACK
    planned.write(tmp_path / "copied.gguf")
    assert planned.written == Written(planned.n_bytes, 0)
    assert filecmp.cmp(tmp_path / "copied.gguf", folder / "new.gguf", shallow=False)


def test_restored_and_rebuilt(folder: Path) -> None:
    source = random_model(folder / "source.gguf", 4, MIB)
    planned = gs.open(source).plan(gs.repeat("1:3"))
    patched = gs.open(planned.write(folder / "new.gguf"))
    restored = patched.restore(folder / "restored.gguf")
    assert filecmp.cmp(source, folder / "restored.gguf", shallow=False)
    assert restored.written and restored.written.n_bytes_written < 2 * BLOCK
    again = gs.open(source).plan_recipe(patched.recipe())
    again.write(folder / "again.gguf")
    assert filecmp.cmp(patched.path, folder / "again.gguf", shallow=False)
    assert again.written == planned.written


@pytest.fixture
def nearly_full(disk: Path, folder: Path) -> Iterator[Path]:
    """A model of 32 MiB, and room for 16 beside it."""
    source = random_model(folder / "source.gguf", 8, 4 * MIB)
    os.sync()
    free = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - 16 * MIB)
    os.sync()
    yield source
    (disk / "filler").unlink()
    os.sync()


def test_no_room_is_needed_for_what_is_shared(nearly_full: Path, folder: Path) -> None:
    planned = gs.open(nearly_full).plan(gs.repeat("2:4"))
    planned.write(folder / "new.gguf")
    assert (folder / "new.gguf").read_bytes() == result_of(planned.planned.write_plan)


def test_room_is_needed_for_the_others(nearly_full: Path, folder: Path) -> None:
    """20 MiB, of parts that do not lie alike."""
    (source,) = (gs.open(nearly_full).plan(gs.repeat("0:1")).planned.write_plan.sources,)
    spans_ = (CopySpan(0, 4 * MIB + 1, 20 * MIB), CopySpan(0, 8 * MIB, 20 * MIB))
    plan = WritePlan(source, bytes(BLOCK), spans_)
    with pytest.raises(WriteFailedError, match=r"needs 20,9\d\d,\d+ bytes, .* free"):
        write_new_file(plan, folder / "new.gguf")
    assert set(listing(folder)) == {"source.gguf"}


def test_the_program_tells_what_is_shared(folder: Path, surgeon: Run) -> None:
    source = random_model(folder / "source.gguf", 4, 4 * MIB + 32)
    done = surgeon("patch", source, folder / "new.gguf", "--window", "0:1")
    assert done.returncode == 0
    told = r"of 20.9\d MB, 16.7\d MB are in disk blocks shared with {}; {} were written"
    assert re.search(told.format(source, r"4.\d\d MB"), done.stdout)
    done = surgeon("restore", folder / "new.gguf", folder / "back.gguf")
    told = told.replace("20.9", "16.7").format(folder / "new.gguf", r"\d.\d\d kB")
    assert re.fullmatch(told, done.stdout.splitlines()[1])
    done = surgeon("patch", source, folder / "again.gguf", "--window", "0:1", "--json")
    figures = json.loads(done.stdout)
    n_bytes = figures["n_bytes_shared"] + figures["n_bytes_written"]
    assert n_bytes == figures["n_bytes"]["after"] == (folder / "again.gguf").stat().st_size
    planned = json.loads(surgeon("plan", source, "--window", "0:1", "--json").stdout)
    assert planned["n_bytes_shareable"] == figures["n_bytes_shared"] > 16 * MIB - 2 * BLOCK
