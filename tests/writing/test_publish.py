"""How the new file comes to its name: links, modes, names, and others who want the same."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.write_plan import CopySpan, WritePlan, ZeroSpan
from ggufsurgeon.writing.new_file import write_new_file
from tests.models.builders import llama_model
from tests.writing.plans import listing, plan_over, result_of, temporaries
from tests.writing.tracing import traced

Act = Callable[[], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def plan(tmp_path: Path) -> WritePlan:
    (tmp_path / "source").write_bytes(bytes(range(200)))
    return plan_over([tmp_path / "source"], b"head", [CopySpan(0, 9, 90), ZeroSpan(8)])


class At:
    """Acts once while a file is being written: at its beginning, or when its last byte is down."""

    def __init__(self, moment: str, act: Act) -> None:
        self._moment = moment
        self._act = act
        self._left = 0

    def begin(self, step: str, total: int, unit: str) -> None:
        self._left = total
        if self._moment == "begin":
            self._act()

    def advance(self, n: int, note: str = "") -> None:
        self._left -= n
        if self._moment == "end" and self._left == 0:
            self._act()


moments = pytest.mark.parametrize("moment", ["begin", "end"])


@moments
def test_who_comes_in_between_stays(plan: WritePlan, folder: Path, moment: str) -> None:
    theirs = At(moment, lambda: (folder / "new").write_bytes(b"theirs"))
    with pytest.raises(RefusedError, match="exists"):
        write_new_file(plan, folder / "new", progress=theirs)
    assert listing(folder) == {"new": b"theirs"}


@moments
def test_a_link_in_between_is_not_followed(plan: WritePlan, folder: Path, moment: str) -> None:
    theirs = At(moment, lambda: (folder / "new").symlink_to("elsewhere"))
    with pytest.raises(RefusedError, match="exists"):
        write_new_file(plan, folder / "new", progress=theirs)
    assert listing(folder) == {"new": "link to elsewhere"}


@moments
def test_unless_it_may_be_replaced(plan: WritePlan, folder: Path, moment: str) -> None:
    theirs = At(moment, lambda: (folder / "new").write_bytes(b"theirs"))
    write_new_file(plan, folder / "new", replace=True, progress=theirs)
    assert listing(folder) == {"new": result_of(plan)}


@moments
def test_what_is_to_be_replaced_may_vanish(plan: WritePlan, folder: Path, moment: str) -> None:
    (folder / "new").write_bytes(b"old")
    gone = At(moment, (folder / "new").unlink)
    write_new_file(plan, folder / "new", replace=True, progress=gone)
    assert listing(folder) == {"new": result_of(plan)}


@pytest.fixture
def no_hard_links(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """As on exFAT, which needs a driver to be tried for real."""
    asked: list[Path] = []

    def refuse(_: Path, link: Path) -> None:
        asked.append(link)
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.delattr(os, "O_TMPFILE")
    yield asked
    assert asked


@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links(plan: WritePlan, folder: Path) -> None:
    write_new_file(plan, folder / "new")
    assert listing(folder) == {"new": result_of(plan)}


@moments
@pytest.mark.usefixtures("no_hard_links")
def test_who_comes_in_between_stays_there_too(plan: WritePlan, folder: Path, moment: str) -> None:
    theirs = At(moment, lambda: (folder / "new").write_bytes(b"theirs"))
    with pytest.raises(RefusedError, match="exists"):
        write_new_file(plan, folder / "new", progress=theirs)
    assert listing(folder) == {"new": b"theirs"}


def test_of_two_at_once_one_wins(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(llama_model(3))
    program = [sys.executable, "-m", "ggufsurgeon", "patch", str(tmp_path / "model.gguf")]
    both = [
        subprocess.Popen(
            [*program, str(folder / "new.gguf"), "--window", "1:2", *times],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for times in ([], ["--times", "3"])
    ]
    told = [process.communicate() for process in both]
    assert sorted(process.returncode for process in both) == [0, 4], told
    winner = 0 if both[0].returncode == 0 else 1
    (content,) = listing(folder).values()
    assert isinstance(content, bytes)
    assert (b"0..1,1..2" in content, b"0..1,1,1..2" in content) == (winner == 0, winner == 1)


def test_a_link_to_nothing_is_followed(plan: WritePlan, folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to(tmp_path / "new")
    write_new_file(plan, folder / "link")
    assert (tmp_path / "new").read_bytes() == result_of(plan)
    assert listing(folder) == {"link": f"link to {tmp_path / 'new'}"}
    assert temporaries(tmp_path) == []


def test_a_link_to_a_file_is_followed(plan: WritePlan, folder: Path) -> None:
    (folder / "old").write_bytes(b"old")
    (folder / "link").symlink_to("old")
    write_new_file(plan, folder / "link", replace=True)
    assert listing(folder) == {"link": "link to old", "old": result_of(plan)}


def test_other_hard_links_keep_the_old_bytes(plan: WritePlan, folder: Path) -> None:
    (folder / "old").write_bytes(b"old")
    (folder / "new").hardlink_to(folder / "old")
    write_new_file(plan, folder / "new", replace=True)
    assert listing(folder) == {"old": b"old", "new": result_of(plan)}


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o027], ids=oct)
def test_a_new_file_has_the_mode_of_any_new_file(plan: WritePlan, folder: Path, umask: int) -> None:
    usual = os.umask(umask)
    try:
        write_new_file(plan, folder / "new")
        (folder / "any").write_bytes(b"")
    finally:
        os.umask(usual)
    assert mode(folder / "new") == mode(folder / "any") == 0o666 & ~umask


@pytest.mark.parametrize("old", [0o600, 0o644, 0o755, 0o444, 0o666, 0o2755], ids=oct)
def test_a_replaced_file_keeps_its_mode(plan: WritePlan, folder: Path, old: int) -> None:
    (folder / "new").write_bytes(b"old")
    (folder / "new").chmod(old)
    write_new_file(plan, folder / "new", replace=True)
    assert (folder / "new").read_bytes() == result_of(plan)
    assert mode(folder / "new") == old


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_permissions_that_cannot_be_set(folder: Path, error: str) -> None:
    """As on mounts of Windows and of networks: the file lands, and a warning says so."""
    (folder / "model.gguf").write_bytes(llama_model(3))
    (folder / "new.gguf").write_bytes(b"old")
    (folder / "new.gguf").chmod(0o600)
    inject = f"chmod,fchmod,fchmodat:error={error}"
    arguments = ("patch", "model.gguf", "new.gguf", "--window", "1:2", "--replace", "--quiet")
    program = traced(folder, "chmod,fchmod,fchmodat", inject, *arguments)
    assert program.done.returncode == 0, program.done.stderr
    warning, *rest = program.done.stderr.splitlines()
    assert warning.startswith("warning: ") and not rest
    assert "new.gguf is written, with permissions -rw-" in warning
    assert "instead of -rw-------: they cannot be changed there" in warning
    assert (folder / "new.gguf").read_bytes()[:4] == b"GGUF"


def test_permissions_that_are_right_are_not_set(folder: Path) -> None:
    (folder / "model.gguf").write_bytes(llama_model(3))
    (folder / "new.gguf").write_bytes(b"old")
    inject = "chmod,fchmod,fchmodat:error=EPERM"
    arguments = ("patch", "model.gguf", "new.gguf", "--window", "1:2", "--replace")
    program = traced(folder, "chmod,fchmod,fchmodat", inject, *arguments)
    assert (program.done.returncode, program.done.stderr) == (0, "")


NAMES = ["two words.gguf", "模型.gguf", "модель 🦙.gguf", "-v", "a\nb", "\x1b[31m", "%s{0}", ".x"]


@pytest.mark.parametrize("name", [*NAMES, "x" * 255, os.fsdecode(b"\xff\xfe.gguf")], ids=ascii)
def test_any_name(plan: WritePlan, folder: Path, name: str) -> None:
    write_new_file(plan, folder / name)
    assert (folder / name).read_bytes() == result_of(plan)
    assert len(listing(folder)) == 1


def test_a_name_in_this_folder(
    plan: WritePlan, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    write_new_file(plan, Path("new"))
    assert listing(folder) == {"new": result_of(plan)}


def test_durable_before_it_has_its_name(
    plan: WritePlan, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of the machine cannot be had here: the order of calls is what stands for it."""
    calls: list[str] = []

    def noted(owner: Any, name: str, note: Callable[..., str]) -> None:
        call = getattr(owner, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            calls.append(note(*arguments))
            return call(*arguments, **options)

        monkeypatch.setattr(owner, name, wrapper)

    noted(os, "write", lambda *_: "write")
    noted(os, "sendfile", lambda *_: "write")
    noted(os, "fsync", lambda fd: "sync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync")
    noted(os, "link", lambda _, path: "publish" if path.name == "new" else "name")
    noted(Path, "replace", lambda *_: "publish")
    for replace in (False, True):
        calls.clear()
        write_new_file(plan, folder / "new", replace=replace)
        name = ["name"] if replace and hasattr(os, "O_TMPFILE") else []
        assert calls[-4 - replace :] == ["write", "sync", *name, "publish", "sync folder"]
