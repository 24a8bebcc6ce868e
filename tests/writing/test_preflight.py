"""What is refused before a byte is written: nothing at all has changed then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from socket import AF_UNIX, socket

import pytest

from ggufsurgeon.errors import GgufSurgeonError, RefusedError, UsageError, WriteFailedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.writing.placement.preflight import check_place
from tests.calls import patch, plan
from tests.models.builders import llama_model
from tests.writing.plans import Watcher, listing, result_of
from tests.writing.powerless import run_powerless

MODEL = llama_model(3)
PATH = LayerPath.of([0, 1, 1, 2])
both_ways = pytest.mark.parametrize("replace", [False, True], ids=["new", "replace"])


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in a folder of its own, which is the current one."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "model.gguf").write_bytes(MODEL)
    return folder / "model.gguf"


def refusal(source: Path, destination: Path, *, replace: bool = False) -> GgufSurgeonError:
    """Why nothing was written. Sees to it that nothing was, near the source and where it ends."""
    places = {source.parent.parent, destination.parent} if destination.parent.is_dir() else set()
    before = [listing(place) for place in (*places, source.parent)]
    watcher = Watcher()
    with pytest.raises(GgufSurgeonError) as caught:
        patch(source, destination, PATH, replace=replace, progress=watcher)
    assert watcher.steps == [], "it was known before"
    assert [listing(place) for place in (*places, source.parent)] == before
    assert str(caught.value).startswith((str(destination), os.path.realpath(destination)))
    return caught.value


@both_ways
@pytest.mark.parametrize("name", ["-", "link"])
def test_standard_output_is_no_destination(source: Path, name: str, replace: bool) -> None:
    """Neither as other programs call it, nor by a link to a pipe, as /dev/stdout is one."""
    reader, writer = os.pipe()
    (source.parent / "link").symlink_to(f"/proc/self/fd/{writer}")
    error = refusal(source, Path(name), replace=replace)
    assert isinstance(error, UsageError) and "is standard output or a pipe" in str(error)
    os.close(reader)
    os.close(writer)


def same(source: Path) -> Path:
    return source


def relative(source: Path) -> Path:
    return Path(source.name)


def roundabout(source: Path) -> Path:
    (source.parent / "x").mkdir()
    return Path(f"./x/../{source.name}")


def symlink(source: Path) -> Path:
    (source.parent / "model.gguf.link").symlink_to(source.name)
    return source.parent / "model.gguf.link"


def chain(source: Path) -> Path:
    (source.parent / "model.gguf.chain").symlink_to(symlink(source))
    return source.parent / "model.gguf.chain"


def hard_link(source: Path) -> Path:
    (source.parent / "model.gguf.hard").hardlink_to(source)
    return source.parent / "model.gguf.hard"


def linked_folder(source: Path) -> Path:
    (source.parent.parent / "linked").symlink_to(source.parent)
    return source.parent.parent / "linked" / source.name


@pytest.mark.parametrize(
    "spell", [same, relative, roundabout, symlink, chain, hard_link, linked_folder]
)
@both_ways
def test_the_source_is_never_written(
    source: Path, spell: Callable[[Path], Path], replace: bool
) -> None:
    error = refusal(source, spell(source), replace=replace)
    assert isinstance(error, RefusedError) and error.exit_code == 4
    assert "is the source" in str(error)
    assert source.read_bytes() == MODEL


@both_ways
def test_nor_by_its_own_links(source: Path, replace: bool) -> None:
    """The other way round: what is read is named by a link, what is written by its true name."""
    for spelling in (symlink(source), hard_link(source)):
        with pytest.raises(RefusedError, match="is the source"):
            patch(spelling, source, PATH, replace=replace)
    assert source.read_bytes() == MODEL


def test_what_exists_stays(source: Path) -> None:
    (source.parent / "new.gguf").write_bytes(b"old")
    error = refusal(source, source.parent / "new.gguf")
    assert isinstance(error, RefusedError) and "exists" in str(error)
    assert "the option replace" in error.hint


def test_so_does_what_a_link_leads_to(source: Path) -> None:
    (source.parent / "old").write_bytes(b"old")
    (source.parent / "link").symlink_to("old")
    with pytest.raises(RefusedError, match="exists"):
        patch(source, source.parent / "link", PATH)
    assert (source.parent / "old").read_bytes() == b"old"


@both_ways
def test_a_folder(source: Path, replace: bool) -> None:
    (source.parent / "new").mkdir()
    error = refusal(source, source.parent / "new", replace=replace)
    assert isinstance(error, RefusedError) and "is a folder" in str(error)


@both_ways
def test_a_named_pipe_is_neither_opened_nor_replaced(source: Path, replace: bool) -> None:
    os.mkfifo(source.parent / "pipe")
    error = refusal(source, source.parent / "pipe", replace=replace)
    assert isinstance(error, RefusedError) and "regular" in str(error)


@both_ways
def test_a_socket(source: Path, replace: bool) -> None:
    with socket(AF_UNIX) as listener:
        listener.bind("socket")
        error = refusal(source, source.parent / "socket", replace=replace)
    assert isinstance(error, RefusedError) and "regular" in str(error)


@both_ways
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing/new.gguf", "does not exist"),
        ("model.gguf/new.gguf", ""),
        ("x" * 256, "too long"),
        ("loop", "symbolic link"),
        ("dangling", "does not exist"),
    ],
    ids=lambda text: text[:20],
)
def test_where_nothing_can_be(source: Path, name: str, says: str, replace: bool) -> None:
    (source.parent / "loop").symlink_to("loop")
    (source.parent / "dangling").symlink_to("missing/new.gguf")
    error = refusal(source, source.parent / name, replace=replace)
    assert isinstance(error, WriteFailedError) and error.exit_code == 5
    assert says in str(error)


@pytest.mark.parametrize("mode", [0o555, 0o666, 0o000], ids=oct)
@pytest.mark.parametrize("options", [[], ["--replace"]], ids=["new", "replace"])
def test_a_folder_without_permission(source: Path, mode: int, options: list[str]) -> None:
    folder = source.parent / "closed"
    folder.mkdir()
    (folder / "old.gguf").write_bytes(b"old")
    folder.chmod(mode)
    name = "closed/old.gguf" if options else "closed/new.gguf"
    done = run_powerless(
        "patch", "model.gguf", name, "--window", "1:2", *options, cwd=source.parent
    )
    folder.chmod(0o755)
    assert (done.returncode, done.stdout) == (5, "")
    assert "ermission" in done.stderr and "Traceback" not in done.stderr
    assert listing(folder) == {"old.gguf": b"old"}


def test_the_same_folder_with_permission(source: Path) -> None:
    """So that the test above fails for the reason it says."""
    (source.parent / "open").mkdir(mode=0o755)
    arguments = ("patch", "model.gguf", "open/new.gguf", "--window", "1:2")
    assert run_powerless(*arguments, cwd=source.parent).returncode == 0
    assert listing(source.parent / "open") == {"new.gguf": result_of(plan(source, PATH).write_plan)}


def test_a_name_with_the_journal_of_an_edit_is_not_written(tmp_path: Path) -> None:
    """No command would open what is there then."""
    journal = tmp_path / "new.gguf.ggufsurgeon-journal"
    journal.write_text("of an edit that was interrupted")
    for replace in (False, True):
        with pytest.raises(RefusedError, match="has the journal") as error:
            check_place((), tmp_path / "new.gguf", replace=replace)
        assert "remove the journal" in error.value.hint
    (tmp_path / "new.gguf").touch()
    with pytest.raises(RefusedError, match="has the journal") as error:
        check_place((), tmp_path / "new.gguf", replace=True)
    assert "ggufsurgeon recover" in error.value.hint
