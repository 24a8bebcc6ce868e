"""The option that gives further models: patch, plan and verify, and what they refuse."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from ggufsurgeon.cli.shared_options.options import NamedFile, other_models
from ggufsurgeon.errors import UsageError
from tests.cli.failing import Unchanged, assert_told
from tests.conftest import Run
from tests.models.builders import F32, llama_model, pair

Write = Callable[..., Path]
MIXED = ("--layers", "0..1,1:1..2", "--with", "b.gguf")


@pytest.fixture
def two(write: Write) -> None:
    write(llama_model(3), "a.gguf")
    write(llama_model(4), "b.gguf")
    write(b"layers: 0..1\n", "r")


@pytest.mark.usefixtures("two")
def test_the_plan_and_the_patch_name_both_models(surgeon: Run) -> None:
    planned = surgeon("plan", "a.gguf", *MIXED)
    assert planned.returncode == 0, planned.stderr
    assert "a.gguf and b.gguf" in planned.stdout
    assert "0..1,1:1..2" in planned.stdout
    assert "in place: refused: the path has blocks of several models" in planned.stdout
    assert "no weights beside those of all models" in " ".join(planned.stdout.split())
    patched = surgeon("patch", "a.gguf", "new.gguf", *MIXED)
    proof = "ggufsurgeon verify new.gguf --source a.gguf --with b.gguf"
    assert f"wrote new.gguf; prove it: {proof}" in patched.stdout
    assert "ggufsurgeon card new.gguf" in patched.stdout
    inspected = surgeon("inspect", "new.gguf")
    assert "0..1,1:1..2 of 2 models" in inspected.stdout
    refused = surgeon("restore", "new.gguf", "old.gguf")
    assert_told(refused, 4, "made from several models, with the layer path 0..1,1:1..2: it has no")
    assert "Use the files that it was made from; verify checks" in refused.stderr


def test_the_proof_that_patch_names_is_one(surgeon: Run, stories: Path) -> None:
    """Also where one of the models is given twice."""
    surgeon("patch", stories, "b.gguf", "--layers", "4,2,3,0,1")
    for layers in ("0..1,2:1,1:2", "0..1,1:1..2,2:0", "2:0,0..1,1:1"):
        copied = ("--with", "b.gguf", "--with", "b.gguf")
        done = surgeon("patch", stories, "c.gguf", "--replace", "--layers", layers, *copied)
        assert done.returncode == 0, done.stderr
        command = shlex.split(done.stdout.split("prove it: ggufsurgeon ")[1].splitlines()[0])
        proven = surgeon(*command, "-t", "1")
        assert proven.returncode == 0, proven.stderr


@pytest.mark.usefixtures("two")
def test_json_lists_the_further_models(surgeon: Run) -> None:
    planned = json.loads(surgeon("plan", "a.gguf", *MIXED, "--json").stdout)
    assert planned["other_sources"] == ["b.gguf"]
    assert [each["path"] for each in planned["write_plan"]["sources"]] == ["a.gguf", "b.gguf"]


def test_verify_takes_the_further_models(surgeon: Run, stories: Path) -> None:
    surgeon("patch", stories, "b.gguf", "--layers", "4,2,3,0,1")
    surgeon("patch", stories, "new.gguf", *MIXED)
    proven = surgeon("verify", "new.gguf", "--source", stories, "--with", "b.gguf", "-t", "1")
    assert proven.returncode == 0, proven.stderr
    assert "routed logits of 128 tokens equal to the bit" in proven.stdout
    swapped = surgeon("verify", "new.gguf", "--source", stories, "--with", stories, "-t", "1")
    assert swapped.returncode == 7
    assert f"new.gguf was not made from {stories} and {stories}" in swapped.stderr
    alone = surgeon("verify", "new.gguf", "--source", stories, "-t", "1")
    assert alone.returncode == 2
    assert "was made from 2 models, and 1 is given" in alone.stderr


BAD = {
    "missing": (("plan", "a.gguf", "--layers", "0,1:1", "--with", "none.gguf"), 2, "none.gguf"),
    "beyond": (("plan", "a.gguf", "--layers", "0,2:1", "--with", "b.gguf"), 2, "no model 2"),
    "block": (("plan", "a.gguf", "--layers", "0,1:4", "--with", "b.gguf"), 2, "no block 4"),
    "in place": (
        ("patch", "a.gguf", "--in-place", *MIXED),
        2,
        "--in-place and --with exclude each",
    ),
    "recipe": (("patch", "a.gguf", "n.gguf", "--recipe", "r", "--with", "b.gguf"), 2, "--with"),
    "scaled": (("plan", "a.gguf", *MIXED, "--scale-weights"), 2, "one model alone"),
    "folder": (("plan", "a.gguf", "--layers", "0,1:1", "--with", "."), 2, "found a folder"),
    "over source": (("patch", "a.gguf", "b.gguf", "--replace", *MIXED), 4, "source b.gguf itself"),
    "disagree": (("plan", "a.gguf", "--layers", "0,1:1", "--with", "c.gguf"), 4, "freq_base"),
    "name": (("plan", "a.gguf", "--layers", "0,1:1", "--with", "=b.gguf"), 2, "NAME=FILE"),
}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_told(case: str, surgeon: Run, write: Write, tmp_path: Path) -> None:
    write(llama_model(4, pair("llama.rope.freq_base", F32, 5.0)), "c.gguf")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    arguments, code, problem = BAD[case]
    done = surgeon(*arguments)
    assert done.returncode == code, done.stderr
    assert problem in done.stderr
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


COMMANDS = (
    ("plan", "a.gguf"),
    ("patch", "a.gguf", "new.gguf"),
    ("generate", "a.gguf", "--prompt", "Once"),
    ("perplexity", "a.gguf", "--text", "text.txt"),
    ("choose", "a.gguf", "--tasks", "tasks.jsonl"),
    ("leaderboard", "a.gguf"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
def test_a_model_that_no_path_uses_and_one_that_is_not_given(
    command: tuple[str, ...], surgeon: Run, write: Write, tmp_path: Path
) -> None:
    """The file is not read: a path without its `1:` is told before anything else is done."""
    write(llama_model(3), "a.gguf")
    unused = "--with b.gguf: no layer path has a block of model 1"
    layers = ("--layers", "0..1,1..2")
    with Unchanged(tmp_path):
        for path in (layers, ("--window", "0:1")):
            told = surgeon(*command, *path, "--with", "b.gguf")
            assert_told(told, 2, unused)
            assert 'as in --layers "0..6,1:4..11"' in told.stderr
        second = surgeon(*command, "--layers", "0,1:0", "--with", "a.gguf", "--with", "b.gguf")
        assert_told(second, 2, unused.replace("model 1", "model 2"))
        missing = surgeon(*command, "--layers", "0..1,1:2")
        assert_told(missing, 2, "layer path 0..1,1:2: there is no model 1")
        assert "--with FILE gives model 1" in missing.stderr
    running = command[0] not in ("plan", "patch")
    if running and command[0] != "generate":
        assert_told(surgeon(*command, "--with", "b.gguf"), 2, unused)


def test_models_are_used_by_any_path_of_a_command(
    surgeon: Run, write: Write, tmp_path: Path
) -> None:
    """What is refused next is not the unused file, which is missing."""
    write(llama_model(3), "a.gguf")
    write(b"text", "text.txt")
    further, missing = ("--with", "b.gguf"), "b.gguf: cannot be opened"
    base = ("--base-layers", "0,1:1")
    with Unchanged(tmp_path):
        for command in (("serve", "a.gguf", "--port", "0"), ("leaderboard", "a.gguf")):
            assert_told(surgeon(*command, *further, "--model", "x=0,1:1"), 2, missing)
            assert_told(surgeon(*command, *further, "--model", "x=0,1"), 2, "no layer path has")
            assert_told(surgeon(*command, "--model", "x=0,1:1"), 2, "there is no model 1")
        measured = ("perplexity", "a.gguf", "--text", "text.txt", *further, *base)
        assert_told(surgeon(*measured), 2, missing)
        assert_told(surgeon(*measured, "--base", "a.gguf"), 2, "no layer path has")


def test_a_recipe_uses_the_models_that_it_names(surgeon: Run, write: Write, tmp_path: Path) -> None:
    """Also where no block is of one of them; other paths of the command may use them too."""
    write(llama_model(3), "a.gguf")
    write(llama_model(3), "b.gguf")
    write(b"sources:\n  a:\n  b:\nlayers: a:0..2\nembeddings: b\n", "own.yaml")
    write(b"sources:\n  a:\n  b:\nlayers: a:0..2, b:1\n", "both.yaml")
    named = ("--with", "b=b.gguf", "--recipe")
    assert surgeon("plan", "a.gguf", *named, "own.yaml").returncode == 0
    served = ("serve", "a.gguf", "--port", "0", *named, "both.yaml", "--model")
    assert_told(surgeon(*served, "x=0,2:1"), 2, "there is no model 2")


def test_names_of_further_models(tmp_path: Path) -> None:
    with_equals = tmp_path / "a=b.gguf"
    with_equals.touch()
    found = other_models([str(with_equals), "chat=c.gguf", "d.gguf"])
    expected = [("", with_equals), ("chat", Path("c.gguf")), ("", Path("d.gguf"))]
    assert found == [NamedFile(*each) for each in expected]
    with pytest.raises(UsageError, match="given twice"):
        other_models(["chat=a.gguf", "chat=b.gguf"])
