"""Files that must not be edited in place, because other programs use or refer to them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.interrupted_edits import journal_path
from ggufsurgeon.errors import (
    GgufSurgeonError,
    InterruptedEditError,
    RefusedError,
    UsageError,
    WriteFailedError,
)
from tests.conftest import is_root
from tests.in_place.disks import disk, model_of, skip_unless_inserting
from tests.writing.plans import listing, sparse_model

WINDOW = gs.repeat("1:3")
HASH = "0123456789abcdef" * 4


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(model_of(4))
    return path


def refused(path: Path, kind: type[GgufSurgeonError] = RefusedError) -> GgufSurgeonError:
    """The error of a patch in place that changes nothing."""
    plan, folder = gs.open(path).plan(WINDOW), path.parent
    before, modes = listing(folder), [each.lstat().st_mode for each in sorted(folder.iterdir())]
    for patch in (plan.choose_in_place, plan.write_in_place):
        with pytest.raises(kind) as caught:
            patch()
    assert listing(folder) == before
    assert [each.lstat().st_mode for each in sorted(folder.iterdir())] == modes
    return caught.value


def test_a_symbolic_link(model: Path) -> None:
    link = model.with_name("link.gguf")
    link.symlink_to(model.name)
    error = refused(link)
    problem = f"{link} is a symbolic link to {model}"
    assert str(error) == f"{problem}, which may be in use under that name"
    assert error.hint.startswith("Name that file itself")


def test_a_link_in_a_hub_cache(tmp_path: Path) -> None:
    """snapshots/COMMIT/NAME is a link to ../../blobs/HASH."""
    blob = tmp_path / "blobs" / HASH
    link = tmp_path / "snapshots" / ("c" * 40) / "model.gguf"
    blob.parent.mkdir()
    link.parent.mkdir(parents=True)
    blob.write_bytes(model_of(4))
    link.symlink_to(f"../../blobs/{HASH}")
    for path in (link, blob):
        error = refused(path)
        assert "in a cache of the Hugging Face hub, where files are named by the hash" in str(error)
        assert str(blob) in str(error)
        assert error.hint == "Patch to a new file."


@pytest.mark.parametrize("name", [f"sha256-{HASH}", f"sha256:{HASH}"])
def test_a_blob_of_ollama(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(model_of(4))
    assert "in Ollama's store of models" in str(refused(tmp_path / name))


@pytest.mark.parametrize("name", [HASH[:39], HASH[:41] + "x", f"{HASH}.gguf", "sha256-1.gguf"])
def test_other_names_are_no_hashes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(model_of(4))
    assert gs.open(tmp_path / name).plan(WINDOW).write_in_place() is not None


def test_hard_links(model: Path) -> None:
    (model.parent / "second").hardlink_to(model)
    assert "has another name (a hard link), under which" in str(refused(model))
    (model.parent / "third").hardlink_to(model)
    assert "has 2 other names (hard links)" in str(refused(model))


def test_a_read_only_file(model: Path) -> None:
    model.chmod(0o444)
    error = refused(model)
    assert "is read-only (-r--r--r--)" in str(error)
    assert "chmod u+w" in error.hint


def test_a_read_only_disk(tmp_path: Path) -> None:
    with disk("ext4", tmp_path / "disk") as folder:
        (folder / "model.gguf").write_bytes(model_of(4))
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        assert "is on a file system that is mounted read-only" in str(
            refused(folder / "model.gguf")
        )


def test_an_immutable_file(model: Path) -> None:
    if not is_root() or shutil.which("chattr") is None:
        pytest.skip("only root can make a file immutable, with chattr")
    if subprocess.run(["chattr", "+i", model], capture_output=True).returncode:
        pytest.skip("files cannot be made immutable here")
    try:
        assert "Operation not permitted" in str(refused(model, WriteFailedError))
    finally:
        subprocess.run(["chattr", "-i", model], check=True)


def test_a_journal_from_before(model: Path) -> None:
    plan = gs.open(model).plan(WINDOW)
    journal_path(model).write_bytes(b"")
    before = listing(model.parent)
    for patch in (plan.choose_in_place, plan.write_in_place, lambda: gs.open(model)):
        with pytest.raises(InterruptedEditError):
            patch()
    assert listing(model.parent) == before


def test_a_model_that_has_changed(model: Path) -> None:
    plan = gs.open(model).plan(WINDOW)
    model.write_bytes(model_of(5))
    with pytest.raises(WriteFailedError, match="has changed since it was read"):
        plan.write_in_place()
    assert listing(model.parent) == {"model.gguf": model_of(5)}


USE = """
import mmap, sys
file = open(sys.argv[1], "rb")
if sys.argv[2] == "mapped":
    kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    file.close()
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def used(path: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process has the file open, or only mapped."""
    command = [sys.executable, "-c", USE, str(path), how]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_another_process_uses_it(model: Path, how: str) -> None:
    skip_unless_inserting(model.parent)
    with used(model, how) as process:
        error = refused(model)
        assert f"{model} is open in python" in str(error)
        assert f"(process {process.pid}), which would read changed data" in str(error)
    assert gs.open(model).plan(WINDOW).write_in_place() is not None


def test_a_new_file_leaves_readers_the_old_one(tmp_path: Path) -> None:
    with disk("tmpfs", tmp_path / "disk") as folder:
        model = folder / "model.gguf"
        model.write_bytes(model_of(4))
        with used(model, "mapped") as process:
            method = gs.open(model).plan(WINDOW).write_in_place()
            assert method is not None and method.edit is None
            (reader,) = method.readers
            assert f"(process {process.pid})" in reader


def test_who_opens_it_meanwhile_waits(model: Path) -> None:
    """A lease has them wait until the edit is done: they find the new file."""
    skip_unless_inserting(model.parent)
    plan = gs.open(model).plan(WINDOW)
    code = "import sys; print(len(open(sys.argv[1], 'rb').read()))"

    class Reader:
        process: subprocess.Popen[bytes] | None = None

        def begin(self, step: str, total: int, unit: str) -> None:
            command = [sys.executable, "-c", code, str(model)]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE)

        def advance(self, n: int, note: str = "") -> None: ...

    reader = Reader()
    assert plan.write_in_place(reader) is not None
    assert reader.process is not None
    out, _ = reader.process.communicate()
    assert int(out) in (len(model_of(4)), plan.n_bytes)
    assert model.stat().st_size == plan.n_bytes


def test_of_two_at_once_one_is_refused(model: Path) -> None:
    skip_unless_inserting(model.parent)
    plan = gs.open(model).plan(WINDOW)
    errors: list[GgufSurgeonError] = []

    class Second:
        def begin(self, step: str, total: int, unit: str) -> None:
            with pytest.raises(GgufSurgeonError) as caught:
                plan.write_in_place()
            errors.append(caught.value)
            with pytest.raises(GgufSurgeonError) as caught:
                gs.ModelFile.recover(model)
            errors.append(caught.value)

        def advance(self, n: int, note: str = "") -> None: ...

    plan.write_in_place(Second())
    assert isinstance(errors[0], InterruptedEditError)
    assert "is being edited by another process" in str(errors[1])
    assert listing(model.parent).keys() == {"model.gguf"}
    assert model.stat().st_size == plan.n_bytes


def test_a_name_that_is_too_long_for_a_journal(tmp_path: Path) -> None:
    skip_unless_inserting(tmp_path)
    path = tmp_path / ("x" * 255)
    path.write_bytes(model_of(4))
    method = gs.open(path).plan(WINDOW).write_in_place()
    assert method is not None
    assert method.why_new_file == "the name of its journal would be too long"
    assert gs.ModelFile.recover(path).value == "nothing"
    assert listing(tmp_path).keys() == {path.name}


def test_a_file_with_holes(tmp_path: Path) -> None:
    """A new one takes its place: a hole of its own would be taken for that of a crash."""
    skip_unless_inserting(tmp_path)
    path = sparse_model(tmp_path / "model.gguf", 4, 1 << 20)
    plan = gs.open(path).plan(WINDOW)
    plan.write(tmp_path / "new.gguf")
    method = plan.write_in_place()
    assert method is not None and method.why_new_file == "the file has holes (it is sparse)"
    assert path.read_bytes() == (tmp_path / "new.gguf").read_bytes()


def test_a_file_of_another_user(tmp_path: Path) -> None:
    """A user who may write to a file but does not own it cannot take a lease on it."""
    if not is_root() or shutil.which("setpriv") is None:
        pytest.skip("only root can make files of other users")
    skip_unless_inserting(tmp_path)
    path = tmp_path / "model.gguf"
    path.write_bytes(model_of(4))
    code = (
        "import fcntl, os, sys; from pathlib import Path\n"
        "from ggufsurgeon.in_place.hold import held\n"
        "os.setgroups([]); os.setuid(1234)\n"
        "with held(Path(sys.argv[1])) as hold, hold.alone(): pass"
    )
    for each in (tmp_path, *tmp_path.parents[:3]):
        each.chmod(each.stat().st_mode | 0o055)
    path.chmod(0o666)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert "CannotInsertError: cannot determine whether another process" in done.stderr


@pytest.mark.parametrize("path", [gs.drop("1:2"), gs.drop("1:3"), gs.LayerPath("0..2,0")])
def test_what_would_lose_blocks(model: Path, path: gs.LayerPath) -> None:
    plan = gs.open(model).plan(path)
    with pytest.raises(RefusedError, match=r"leaves out block.*: what may be the only copy"):
        plan.write_in_place()
    assert listing(model.parent) == {"model.gguf": model_of(4)}


def test_nothing_to_do(model: Path) -> None:
    assert gs.open(model).plan(gs.LayerPath("0..3")).write_in_place() is None
    assert listing(model.parent) == {"model.gguf": model_of(4)}


def test_the_mode_and_owner_stay(tmp_path: Path) -> None:
    """Also of a new file that takes the place of the old one."""
    with disk("tmpfs", tmp_path / "disk") as folder:
        model = folder / "model.gguf"
        model.write_bytes(model_of(4))
        model.chmod(0o640)
        os.chown(model, 1234, 5678)
        gs.open(model).plan(WINDOW).write_in_place()
        status = model.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 5678, 0o640)


def test_no_room_for_a_new_file(tmp_path: Path) -> None:
    with disk("tmpfs", tmp_path / "disk") as folder:
        model = folder / "model.gguf"
        model.write_bytes(model_of(4))
        figures = os.statvfs(folder)
        (folder / "filler").write_bytes(bytes((figures.f_bavail - 1) * figures.f_bsize))
        error = refused(model, WriteFailedError)
        assert "there is no space for a new file to replace it" in str(error)


def test_shards(tmp_path: Path, stories: Path) -> None:
    first, *_ = gs.open(stories).plan(WINDOW).write_shards(tmp_path / "model.gguf", 1_000_000)
    before = listing(tmp_path)
    with pytest.raises(RefusedError, match="is one of 2 shards"):
        gs.open(first).plan(WINDOW).write_in_place()
    assert listing(tmp_path) == before
    with pytest.raises(UsageError):
        gs.ModelFile.recover(tmp_path)
