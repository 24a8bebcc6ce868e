"""Law 5 on disks that are full, become full, or cannot be written: real ones, and a limit."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.write_plan import CopySpan, WritePlan
from ggufsurgeon.writing.new_file import write_new_file, write_new_shards
from ggufsurgeon.writing.placement import reservation
from ggufsurgeon.writing.span_writers import copying
from ggufsurgeon.writing.span_writers.copying import CopyMethod
from tests.calls import patch
from tests.conftest import Run
from tests.models.builders import llama_model
from tests.writing.mounting import mounted_image, mounted_memory, run
from tests.writing.plans import listing, plan_over, result_of, sparse_model

pytestmark = pytest.mark.slow

Act = Callable[[], object]
N_BYTES = 2 << 20
OLD = b"old"
replacing = pytest.mark.parametrize("old", [None, OLD], ids=["new", "replace"])


@pytest.fixture(scope="module", params=["ext4", "tmpfs"])
def mounted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A file system of 6 MB."""
    folder = tmp_path_factory.mktemp("small") / "disk"
    if request.param == "tmpfs":
        disk = mounted_memory(folder, "tmpfs", "-o", "size=6m")
    else:
        disk = mounted_image(folder, 6 << 20, "mkfs.ext4", "-q", "-F")
    with disk:
        yield folder


@pytest.fixture
def disk(mounted: Path) -> Path:
    """An empty folder on the small disk."""
    folder = mounted / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def n_free(folder: Path) -> int:
    figures = os.statvfs(folder)
    return figures.f_bfree * figures.f_frsize


def fill(path: Path) -> None:
    """Another program takes all the room there is."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    for n_bytes in (1 << 16, 1 << 12, 1):
        try:
            while True:
                os.write(descriptor, bytes(n_bytes))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    os.close(descriptor)


class Meanwhile:
    """Does something before the first byte, or behind it."""

    def __init__(self, act: Act, *, at_begin: bool) -> None:
        self.n_bytes = 0
        self._acts = [act]
        self._at_begin = at_begin

    def begin(self, step: str, total: int, unit: str) -> None:
        if self._at_begin:
            self._acts.pop()()

    def advance(self, n: int, note: str = "") -> None:
        self.n_bytes += n
        if self._acts:
            self._acts.pop()()


@pytest.fixture
def plan(tmp_path: Path) -> WritePlan:
    (tmp_path / "source").write_bytes(os.urandom(N_BYTES))
    return plan_over([tmp_path / "source"], b"head", [CopySpan(0, 1, N_BYTES - 1)])


def start(folder: Path, old: bytes | None) -> dict[str, object]:
    if old is not None:
        (folder / "new").write_bytes(old)
    return listing(folder)


@replacing
def test_too_large_from_the_start(disk: Path, tmp_path: Path, old: bytes | None) -> None:
    source = sparse_model(tmp_path / "source.gguf", 4, 2 << 20)
    before = start(disk, old)
    with pytest.raises(WriteFailedError, match=r"needs 10,\d+,\d+ bytes, .* free") as caught:
        patch(source, disk / "new", LayerPath.of([0, 1, 2, 3, 3]), replace=old is not None)
    assert caught.value.exit_code == 5
    assert listing(disk) == before


@replacing
def test_the_program_on_a_full_disk(
    disk: Path, tmp_path: Path, surgeon: Run, old: bytes | None
) -> None:
    source = sparse_model(tmp_path / "source.gguf", 4, 2 << 20)
    before = start(disk, old)
    options = ["--replace"] if old else []
    done = surgeon("patch", source, disk / "new", "--window", "1:2", *options)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("error: ") and "free" in done.stderr
    assert "Traceback" not in done.stderr
    assert listing(disk) == before


@replacing
def test_room_that_is_gone_when_writing_starts(
    disk: Path, plan: WritePlan, old: bytes | None
) -> None:
    before = start(disk, old)
    filler = Meanwhile(lambda: fill(disk.parent / "filler"), at_begin=True)
    try:
        with pytest.raises(WriteFailedError, match="No space left"):
            write_new_file(plan, disk / "new", replace=old is not None, progress=filler)
        assert listing(disk) == before
        assert filler.n_bytes == 0, "it shows when room is reserved"
    finally:
        (disk.parent / "filler").unlink()
    assert n_free(disk) > plan.n_bytes


def in_halves(plan: WritePlan, disk: Path) -> tuple[list[WritePlan], list[Path]]:
    """Two files of half the bytes each."""
    half = plan.n_bytes // 2
    spans = [list(plan.between(4, half)), list(plan.between(half, plan.n_bytes))]
    plans = [plan_over([Path(plan.sources[0].path)], b"head", each) for each in spans]
    return plans, [disk / "first", disk / "second"]


def test_shards_that_lack_room_when_writing_starts(disk: Path, plan: WritePlan) -> None:
    plans, destinations = in_halves(plan, disk)
    filler = Meanwhile(lambda: fill(disk.parent / "filler"), at_begin=True)
    try:
        with pytest.raises(WriteFailedError, match="No space left"):
            write_new_shards(plans, destinations, progress=filler)
        assert (listing(disk), filler.n_bytes) == ({}, 0)
    finally:
        (disk.parent / "filler").unlink()


@pytest.mark.parametrize("can_reserve", [True, False])
def test_shards_that_lack_room_later(
    disk: Path, plan: WritePlan, can_reserve: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans, destinations = in_halves(plan, disk)
    n_before = n_free(disk)
    filler = Meanwhile(lambda: fill(disk.parent / "filler"), at_begin=False)
    try:
        if can_reserve:
            write_new_shards(plans, destinations, progress=filler)
            assert listing(disk) == {"first": result_of(plans[0]), "second": result_of(plans[1])}
            return
        monkeypatch.setattr(reservation, "fallocate", has_none)
        with pytest.raises(WriteFailedError, match="No space left"):
            write_new_shards(plans, destinations, progress=filler)
        assert listing(disk) == {}
    finally:
        (disk.parent / "filler").unlink()
    assert n_free(disk) == n_before


@replacing
def test_room_that_goes_later_was_reserved(disk: Path, plan: WritePlan, old: bytes | None) -> None:
    start(disk, old)
    filler = Meanwhile(lambda: fill(disk.parent / "filler"), at_begin=False)
    try:
        write_new_file(plan, disk / "new", replace=old is not None, progress=filler)
        assert listing(disk) == {"new": result_of(plan)}
    finally:
        (disk.parent / "filler").unlink()


def has_none(*_: int) -> None:
    """As on exFAT and NFS 3, and on systems other than Linux."""
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@replacing
@pytest.mark.parametrize("methods", [copying.METHODS, *((method,) for method in copying.METHODS)])
def test_room_that_goes_where_none_can_be_reserved(
    disk: Path,
    plan: WritePlan,
    old: bytes | None,
    methods: tuple[CopyMethod, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reservation, "fallocate", has_none)
    monkeypatch.setattr(copying, "METHODS", methods)
    before, n_before = start(disk, old), n_free(disk)
    filler = Meanwhile(lambda: fill(disk.parent / "filler"), at_begin=False)
    try:
        with pytest.raises(WriteFailedError, match="No space left"):
            write_new_file(plan, disk / "new", replace=old is not None, progress=filler)
        assert listing(disk) == before
    finally:
        (disk.parent / "filler").unlink()
    assert n_free(disk) == n_before


@replacing
def test_a_disk_that_is_read_only(
    mounted: Path, disk: Path, plan: WritePlan, old: bytes | None
) -> None:
    before = start(disk, old)
    assert run("mount", "-o", "remount,ro", mounted) == ""
    try:
        with pytest.raises(WriteFailedError, match="mounted read-only"):
            write_new_file(plan, disk / "new", replace=old is not None)
    finally:
        assert run("mount", "-o", "remount,rw", mounted) == ""
    assert listing(disk) == before


@replacing
@pytest.mark.parametrize("limit", [1, 500], ids=lambda n: f"{n}-bytes")
def test_a_limit_on_the_size_of_files(
    tmp_path: Path, surgeon: Run, old: bytes | None, limit: int
) -> None:
    (tmp_path / "model.gguf").write_bytes(llama_model(3))
    before = start(tmp_path, old)

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    options = ["--replace"] if old else []
    arguments = ["patch", "model.gguf", "new", "--window", "1:2", *options]
    done = surgeon(*arguments, preexec_fn=set_limit)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("error: ") and f"files of up to {limit:,}" in done.stderr
    assert listing(tmp_path) == before
