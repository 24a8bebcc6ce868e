"""`patch` in place and `recover`, as a user runs them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ggufsurgeon.container.interrupted_edits import journal_path
from tests.cli.failing import Unchanged, assert_told
from tests.cli.test_restore import sha256
from tests.conftest import Run
from tests.in_place.disks import skip_unless_inserting
from tests.in_place.test_recovery import Begun

WINDOW = ("--window", "1:3")
IN_PLACE = ("patch", "model.gguf", "--in-place")


@pytest.fixture
def model(tmp_path: Path, stories: Path) -> Path:
    skip_unless_inserting(tmp_path)
    return Path(shutil.copy(stories, tmp_path / "model.gguf"))


def test_patched_twice_and_restored(
    surgeon: Run, model: Path, stories: Path, tmp_path: Path
) -> None:
    assert surgeon("patch", stories, "new.gguf", *WINDOW).returncode == 0
    done = surgeon(*IN_PLACE, *WINDOW)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "note: model.gguf will be edited in place: 4.10 kB inserted before the data, 363.52 kB "
        "appended; if a crash interrupts this, run: ggufsurgeon recover model.gguf\n"
    )
    *_, told = done.stdout.splitlines()
    assert re.fullmatch(
        r"patched model.gguf in place: 4.10 kB inserted, 381.79 kB written, in \d+\.\d\d s; undo: "
        "ggufsurgeon restore model.gguf DEST",
        told,
    )
    assert sha256(model) == sha256(tmp_path / "new.gguf")
    assert surgeon("patch", "new.gguf", "twice.gguf", "--layers", "6,0..5").returncode == 0
    again = surgeon(*IN_PLACE, "--layers", "6,0..5", "--json", "--quiet")
    assert (again.returncode, again.stderr) == (0, "")
    assert sha256(model) == sha256(tmp_path / "twice.gguf")
    found = json.loads(again.stdout)
    assert found["destination"] == "model.gguf"
    assert found["in_place"]["how"] == "inserted"
    assert surgeon("restore", "model.gguf", "back.gguf").returncode == 0
    assert sha256(tmp_path / "back.gguf") == sha256(stories)


def test_a_recipe_in_place(surgeon: Run, model: Path, tmp_path: Path) -> None:
    assert surgeon("patch", "model.gguf", "new.gguf", *WINDOW).returncode == 0
    recipe = surgeon("recipe", "new.gguf").stdout
    (tmp_path / "recipe").write_text(recipe)
    digest = sha256(tmp_path / "new.gguf")
    assert digest in recipe
    (tmp_path / "other").write_text(recipe.replace(digest, "0" * 64))
    with Unchanged(tmp_path):
        done = surgeon(*IN_PLACE, "--recipe", "other", "--quiet")
        assert_told(done, 7, "the patched file would have the SHA-256")
    assert surgeon(*IN_PLACE, "--recipe", "recipe").returncode == 0
    assert sha256(model) == digest


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("patch", "model.gguf", *WINDOW), "expected DEST, the file to write, or --in-place"),
        (("patch", "model.gguf", "new.gguf", "--in-place", *WINDOW), "new.gguf would not be"),
        ((*IN_PLACE, "--replace", *WINDOW), "--in-place excludes --replace"),
        ((*IN_PLACE, "--split-max-size", "1M", *WINDOW), "excludes --replace and --split-max-size"),
        (IN_PLACE, "expected one of --window"),
        (("recover", "missing.gguf"), "there is no such file"),
        (("recover", "."), ". is a folder"),
    ],
)
def test_wrong_requests(
    surgeon: Run, model: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    with Unchanged(tmp_path):
        assert_told(surgeon(*arguments), 2, says)


def test_nothing_to_do(surgeon: Run, model: Path, tmp_path: Path) -> None:
    with Unchanged(tmp_path):
        done = surgeon(*IN_PLACE, "--layers", "0..4")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("left model.gguf as it is: the layer path changes nothing\n")
        done = surgeon("recover", "model.gguf")
        assert done.stdout == "no edit of model.gguf was interrupted: there is nothing to do\n"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (WINDOW, "in place: possible; 4.10 kB inserted and 363.52 kB appended (ext4, XFS), or re"),
        (("--drop", "1:3"), "in place: refused: the path leaves out blocks 1..2: what may be"),
        (("--layers", "0..4"), "in place: possible"),
    ],
)
def test_a_plan_tells(surgeon: Run, model: Path, path: tuple[str, ...], says: str) -> None:
    done = surgeon("plan", "model.gguf", *path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith(says)
    found = json.loads(surgeon("plan", "model.gguf", *path, "--json").stdout)["in_place"]
    assert found["is_possible"] == ("refused" not in says)


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "model.gguf"),
        ("plan", "model.gguf", *WINDOW),
        ("patch", "model.gguf", "new.gguf", *WINDOW),
        (*IN_PLACE, *WINDOW),
        ("restore", "model.gguf", "new.gguf"),
        ("recipe", "model.gguf"),
        ("diff", "model.gguf", "model.gguf"),
        ("verify", "model.gguf", "--source", "model.gguf"),
        ("generate", "model.gguf", "--prompt", "Once"),
        ("perplexity", "model.gguf", "--text", "model.gguf"),
    ],
    ids=lambda command: command[0],
)
def test_no_command_takes_an_interrupted_model(
    surgeon: Run, model: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Though its header may be as good as ever."""
    journal_path(model).write_bytes(b"")
    with Unchanged(tmp_path):
        done = surgeon(*command)
        assert_told(done, 4, "an edit in place was interrupted, or is running")
        assert "ggufsurgeon recover model.gguf" in done.stderr


def test_recovered(surgeon: Run, tmp_path: Path) -> None:
    skip_unless_inserting(tmp_path)
    begun = Begun(tmp_path)
    begun.append()
    begun.insert(0)
    journal = journal_path(begun.path).read_bytes()
    journal_path(begun.path).write_bytes(journal[:-1])
    with Unchanged(tmp_path):
        assert_told(surgeon("recover", "model.gguf"), 4, "is damaged")
    journal_path(begun.path).write_bytes(journal)
    done = surgeon("recover", "model.gguf")
    assert begun.path.read_bytes() == begun.new
    assert not journal_path(begun.path).exists()
    assert "Traceback" not in done.stderr
