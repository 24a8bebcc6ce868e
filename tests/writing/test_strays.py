"""Temporary files of killed processes are removed by the next command that writes there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggufsurgeon.write_plan import CopySpan, WritePlan
from ggufsurgeon.writing.new_file import new_file, write_bytes, write_new_file, write_new_shards
from ggufsurgeon.writing.placement import temporaries as temporaries_module
from ggufsurgeon.writing.placement.file_systems import file_system_of
from ggufsurgeon.writing.placement.strays import remove_strays
from ggufsurgeon.writing.placement.temporaries import Temporary, lock, temporaries
from tests.conftest import is_root
from tests.models.builders import llama_model
from tests.writing.mounting import mounted_image, mounted_memory
from tests.writing.plans import listing, plan_over, result_of
from tests.writing.strikes import ForkedProgram, forked_program

STRAY = ".ggufsurgeon-0123456789abcdef01234567.tmp"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedProgram]:
    with forked_program(tmp_path_factory.mktemp("log")) as program:
        yield program


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def plan(tmp_path: Path) -> WritePlan:
    (tmp_path / "source").write_bytes(bytes(range(200)))
    return plan_over([tmp_path / "source"], b"head", [CopySpan(0, 9, 90)])


def test_every_way_to_write_removes_them(folder: Path, plan: WritePlan) -> None:
    def write_for_others() -> None:
        with new_file(folder / "for-others", (), replace=False) as path:
            path.write_bytes(b"x")

    for write in (
        lambda: write_new_file(plan, folder / "new"),
        lambda: write_new_shards([plan, plan], [folder / "a", folder / "b"]),
        lambda: write_bytes(b"x", folder / "bytes", replace=False),
        write_for_others,
    ):
        (folder / STRAY).write_bytes(b"stray")
        write()
        assert STRAY not in listing(folder)


def test_one_that_is_being_written_stays(program: ForkedProgram, folder: Path) -> None:
    """Another process writes into the folder, to the end, while the first one is stopped."""
    (folder / "model.gguf").write_bytes(llama_model(3))
    arguments = ("model.gguf", "first.gguf", "--window", "0:1")
    seen: list[str] = []

    def write_another() -> None:
        seen.extend(name for name in listing(folder) if name[0] == ".")
        with new_file(folder / "second", (), replace=False) as path:
            path.write_bytes(b"second")
        assert seen == [name for name in listing(folder) if name[0] == "."]

    run = program.run(
        folder,
        "patch",
        *arguments,
        without=["O_TMPFILE"],
        inject="fsync:signal=SIGSTOP:when=1",
        meanwhile=write_another,
    )
    assert (run.code, run.stderr, len(seen)) == (0, "", 1)
    assert sorted(listing(folder)) == ["first.gguf", "model.gguf", "second"]


def test_nor_is_one_of_this_process(folder: Path) -> None:
    with temporaries([folder / "new"], named=True) as (file,):
        remove_strays([folder])
        assert file.path.exists()
    assert listing(folder) == {}


def test_what_is_not_surely_ours_stays(folder: Path) -> None:
    for name in (
        ".ggufsurgeon-0123456789abcdef.tmp",  # of a version that did not lock them
        ".ggufsurgeon-0123456789abcdef0123456z.tmp",
        f"{STRAY}.part",
        f"x{STRAY}",
        STRAY.upper(),
    ):
        (folder / name).write_bytes(b"theirs")
    (folder / STRAY.replace("0", "1")).mkdir()
    (folder / STRAY.replace("0", "2")).symlink_to("elsewhere")
    os.mkfifo(folder / STRAY.replace("0", "3"))
    before = listing(folder)
    remove_strays([folder])
    assert listing(folder) == before
    remove_strays([folder / "missing"])


def test_nor_that_of_another_user(folder: Path) -> None:
    if not is_root():
        pytest.skip("only root can give files away")
    (folder / STRAY).write_bytes(b"theirs")
    os.chown(folder / STRAY, 12345, -1)
    remove_strays([folder])
    assert STRAY in listing(folder)


def test_a_second_name_of_a_complete_file(folder: Path) -> None:
    """Its process was killed between the link and the tidying, where names are needed."""
    (folder / "new").write_bytes(b"complete")
    (folder / STRAY).hardlink_to(folder / "new")
    remove_strays([folder])
    assert listing(folder) == {"new": b"complete"}
    assert (folder / "new").stat().st_nlink == 1


def test_one_that_looks_like_a_stray_between_its_creation_and_its_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer notices that it was removed, and makes another."""

    def remove_first(descriptor: int) -> None:
        monkeypatch.undo()
        remove_strays([folder])
        lock(descriptor)

    monkeypatch.setattr(temporaries_module, "lock", remove_first)
    file = Temporary(folder / "new")
    file.open(named=True)
    assert list(listing(folder)) == [file.path.name]
    assert os.path.samestat(file.path.stat(), os.fstat(file.descriptor))
    file.close()
    file.remove()


def test_room_that_a_stray_takes(tmp_path: Path, plan: WritePlan) -> None:
    """It is there again before the room is asked for."""
    with mounted_memory(tmp_path / "disk", "tmpfs", "-o", "size=64k") as disk:
        (disk / STRAY).write_bytes(bytes(64 << 10))
        write_new_file(plan, disk / "new")
        assert listing(disk) == {"new": result_of(plan)}


def test_file_systems_whose_locks_may_not_be_seen_by_all(tmp_path: Path) -> None:
    """ramfs stands for all that are not known to be of one machine, such as NFS."""
    with mounted_memory(tmp_path / "disk", "ramfs") as disk:
        (disk / STRAY).write_bytes(b"perhaps written on another machine")
        remove_strays([disk])
        assert STRAY in listing(disk)


MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
    "vfat": ["mkfs.vfat"],
    "tmpfs": [],
    "ramfs": [],
}
NAMELESS = ("ext4", "xfs", "btrfs", "tmpfs")


@pytest.fixture(params=MAKE)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    kind, make = request.param, MAKE[request.param]
    folder = tmp_path / "disk"
    is_memory = not make
    disk = mounted_memory(folder, kind) if is_memory else mounted_image(folder, 320 << 20, *make)
    with disk:
        yield kind, folder


def test_without_a_name_where_that_can_be(disk: tuple[str, Path], plan: WritePlan) -> None:
    kind, folder = disk
    (folder / "inside").mkdir()
    with temporaries([folder / "inside/new"]) as (file,):
        assert file_system_of(file.descriptor) == kind
        assert (listing(folder / "inside") == {}) == (kind in NAMELESS)
    for replace in (False, True):
        write_new_file(plan, folder / "inside/new", replace=replace)
        assert listing(folder / "inside") == {"new": result_of(plan)}


def test_the_name_of_a_file_system_that_is_not_known() -> None:
    start, end = os.pipe()
    assert file_system_of(start) == "" and file_system_of(12345) == ""
    os.close(start)
    os.close(end)
