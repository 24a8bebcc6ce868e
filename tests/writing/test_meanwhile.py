"""Changes to source and destination by other processes while a file is written are detected."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.writing.plans import listing, sparse_model
from tests.writing.powerless import powerless_prefix
from tests.writing.strikes import ForkedProgram, Run, forked_program

N_BYTES = 17 << 20
"""Of a block: copied in several calls, behind the second of which the program is stopped."""
MIDDLE = "sendfile:signal=SIGSTOP:when=2"
STATE = "  The destination is as it was."
REPLACE = ("--replace",)
SHARDS = ("--split-max-size", "20M")
Change = Callable[[Path], object]
slow = pytest.mark.slow
nameless_or_named = pytest.mark.parametrize(
    "without",
    [pytest.param([], id="nameless"), pytest.param(["O_TMPFILE"], id="named", marks=slow)],
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedProgram]:
    """Without the power of root to ignore permissions."""
    folder = tmp_path_factory.mktemp("program")
    with forked_program(folder, powerless_prefix()) as program:
        source = sparse_model(folder / "source.gguf", 2, 1 << 20)
        program.warm(folder, "patch", source, "new.gguf", "--window", "0:1")
        yield program


class Scene:
    """A file that is being written in `folder`, which is the current one's."""

    def __init__(self, program: ForkedProgram, folder: Path) -> None:
        self.source = sparse_model(folder / "source.gguf", 2, N_BYTES)
        self.folder = folder / "folder"
        self.folder.mkdir()
        self._program = program

    def write(
        self,
        meanwhile: Change,
        *options: str,
        at: str = MIDDLE,
        without: Sequence[str] = (),
    ) -> Run:
        """Write `new.gguf` there; in the middle something is done to source or folder."""
        files = map(str, (self.source, self.folder / "new.gguf"))
        arguments = ["patch", *files, "--window", "0:1", *options]
        on = self.source if meanwhile in ON_SOURCE else self.folder
        return self._program.run(
            self.folder.parent,
            *arguments,
            inject=at,
            without=without,
            meanwhile=lambda: meanwhile(on),
        )


@pytest.fixture
def scene(program: ForkedProgram, tmp_path: Path) -> Scene:
    return Scene(program, tmp_path)


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def truncated(source: Path) -> None:
    os.truncate(source, source.stat().st_size - 100)


def truncated_and_restored(source: Path) -> None:
    n_bytes = source.stat().st_size
    os.truncate(source, n_bytes // 2)
    os.truncate(source, n_bytes)


def grown(source: Path) -> None:
    put(source, source.stat().st_size, b"x")


def written_to(source: Path) -> None:
    put(source, source.stat().st_size - 10, b"x")


def written_to_with_its_old_time(source: Path) -> None:
    """As rsync --inplace --times and cp --preserve do."""
    before = source.stat()
    written_to(source)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_header(source: Path) -> None:
    put(source, 8, b"\x01")


def touched(source: Path) -> None:
    source.touch()


def read(source: Path) -> None:
    source.read_bytes()


CHANGED = (truncated_and_restored, grown, written_to, written_to_with_its_old_time, other_header)
ON_SOURCE = (*CHANGED, truncated, touched, read)


@pytest.mark.parametrize(
    "options", [pytest.param((), id="file"), pytest.param(SHARDS, id="shards", marks=slow)]
)
@pytest.mark.parametrize("change", [*CHANGED, touched, truncated])
def test_the_source_is_changed(scene: Scene, change: Change, options: Sequence[str]) -> None:
    run = scene.write(change, *options)
    error, state, *_ = run.stderr.splitlines()
    assert (run.code, state) == (5, STATE)
    says = ": the source ends at byte " if change == truncated else " was changed while it was read"
    assert error.startswith(f"error: {scene.source}{says}")
    assert listing(scene.folder) == {}


def test_the_source_is_read_by_others(scene: Scene) -> None:
    run = scene.write(read)
    assert (run.code, run.stderr) == (0, "")


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def renamed(folder: Path) -> None:
    folder.rename(folder.with_name("renamed"))


def replaced_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"theirs")


@nameless_or_named
@pytest.mark.parametrize("options", [(), REPLACE, SHARDS], ids=["new", "replace", "shards"])
@pytest.mark.parametrize("change", [removed, renamed, replaced_by_a_file])
def test_the_folder_vanishes(
    scene: Scene, change: Change, options: Sequence[str], without: Sequence[str]
) -> None:
    place = scene.folder.parent
    run = scene.write(change, *options, without=without)
    error, state, hint = run.stderr.splitlines()
    assert (run.code, state, hint) == (5, STATE, "  Use another destination.")
    assert error.startswith(f"error: {scene.folder / 'new'}")
    assert error.endswith(f": the folder {scene.folder} was removed or renamed meanwhile")
    there = {"source.gguf"} | ({"renamed"} if change is renamed else set())
    there |= {"folder"} if change is replaced_by_a_file else set()
    assert {path.name for path in place.rglob("*")} == there


def theirs(folder: Path) -> None:
    (folder / "new.gguf").write_bytes(b"theirs")


def their_shard(folder: Path) -> None:
    (folder / "new-00002-of-00003.gguf").write_bytes(b"theirs")


@nameless_or_named
@pytest.mark.parametrize(("change", "options"), [(theirs, ()), (their_shard, SHARDS)])
def test_somebody_else_makes_the_destination(
    scene: Scene, change: Change, options: Sequence[str], without: Sequence[str]
) -> None:
    run = scene.write(change, *options, without=without)
    assert run.code == 4 and ".gguf exists" in run.stderr
    assert list(listing(scene.folder).values()) == [b"theirs"]


@nameless_or_named
def test_at_the_last_moment(scene: Scene, without: Sequence[str]) -> None:
    run = scene.write(theirs, at="fsync:signal=SIGSTOP:when=1", without=without)
    assert run.code == 4 and "new.gguf exists" in run.stderr
    assert listing(scene.folder) == {"new.gguf": b"theirs"}


def test_at_the_last_moment_where_there_are_no_hard_links(scene: Scene) -> None:
    """As on exFAT, where the file is renamed."""
    at = "link:error=EPERM:signal=SIGSTOP:when=1"
    run = scene.write(theirs, at=at, without=["O_TMPFILE"])
    assert run.code == 4 and "new.gguf exists" in run.stderr
    assert listing(scene.folder) == {"new.gguf": b"theirs"}


def closed(folder: Path) -> None:
    folder.chmod(0o555)


@pytest.mark.parametrize("options", [(), REPLACE, SHARDS], ids=["new", "replace", "shards"])
def test_the_folder_loses_its_permissions(scene: Scene, options: Sequence[str]) -> None:
    run = scene.write(closed, *options)
    scene.folder.chmod(0o755)
    error, *state = run.stderr.splitlines()
    assert (run.code, state) == (5, [STATE])
    assert error.endswith(": Permission denied")
    assert listing(scene.folder) == {}
