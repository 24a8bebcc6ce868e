"""What the program prints: JSON for programs, text that cannot drive a terminal for people."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import plan
from tests.conftest import Run
from tests.models.builders import ARRAY, STRING, U32, Tensor, block_tensors, gguf, llama_model, pair
from tests.writing.plans import listing, result_of

Write = Callable[..., Path]
WINDOW = ("--window", "1:2")
PATCHED = LayerPath.of([0, 1, 1, 2])
EVIL = b"\x1b[31m[red]\xff\x9b2J\r\x07[/nonsense]\\[b]\xe2\x80\xae"
EVIL_NAME = os.fsdecode(EVIL.replace(b"/", b"") + b".gguf")
ENVIRONMENT = {key: text for key, text in os.environ.items() if key != "PYTHONUNBUFFERED"}
"""As users have it: output waits in a buffer until the end."""


def evil_model() -> bytes:
    """A model with what drives terminals and markup wherever a name or a text may be."""
    pairs = [
        pair("general.architecture", STRING, "llama"),
        pair("general.name", STRING, EVIL),
        pair("llama.block_count", U32, 3),
        pair(b"general." + EVIL, STRING, EVIL * 20),
        pair("general.tags", ARRAY, (STRING, [EVIL, EVIL])),
        pair("general.type", STRING, "model"),
    ]
    return gguf(pairs, [*block_tensors(3), Tensor("\x1b[31m[red]")])


def raw(*arguments: str | Path, folder: Path) -> tuple[int, bytes, bytes]:
    program = [sys.executable, "-m", "ggufsurgeon", *arguments]
    done = subprocess.run(program, cwd=folder, capture_output=True, env=ENVIRONMENT)
    return done.returncode, done.stdout, done.stderr


def assert_harmless(output: bytes) -> None:
    """UTF-8 in which nothing moves a cursor, rings a bell or turns text around."""
    text = output.decode()
    assert {c for c in text if not c.isprintable()} <= {"\n"}
    assert "[red]" in text, "markup is shown, not obeyed"


@pytest.mark.parametrize(
    "arguments", [["inspect", "--metadata"], ["plan", *WINDOW]], ids=["inspect", "plan"]
)
def test_texts_in_files_are_shown_harmless(
    write: Write, tmp_path: Path, arguments: list[str]
) -> None:
    write(evil_model())
    command, *options = arguments
    code, output, errors = raw(command, "model.gguf", *options, folder=tmp_path)
    assert (code, errors) == (0, b"")
    assert_harmless(output)


def on_a_terminal(width: int, *arguments: str, folder: Path) -> bytes:
    mine, theirs = pty.openpty()
    program = [sys.executable, "-m", "ggufsurgeon", *arguments]
    environment = ENVIRONMENT | {"TERM": "dumb", "COLUMNS": str(width), "LINES": "50"}
    with subprocess.Popen(program, cwd=folder, stdout=theirs, env=environment) as process:
        os.close(theirs)
        output = b""
        while chunk := read_terminal(mine):
            output += chunk
    os.close(mine)
    assert process.returncode == 0
    return output.replace(b"\r\n", b"\n")


def test_also_on_a_terminal(write: Write, tmp_path: Path) -> None:
    write(evil_model())
    assert_harmless(on_a_terminal(300, "inspect", "model.gguf", "--metadata", folder=tmp_path))


@pytest.mark.parametrize("width", [20, 60, 80])
def test_no_terminal_is_too_narrow_for_a_number(write: Write, tmp_path: Path, width: int) -> None:
    """What is longer than 24 characters, a SHA-256 here, goes on in the next line."""
    write(llama_model(3))
    wide, narrow = (
        on_a_terminal(columns, "plan", "model.gguf", *WINDOW, folder=tmp_path).decode()
        for columns in (300, width)
    )
    assert_whole(wide, narrow)
    assert any(len(word) == 64 for word in wide.split())
    assert not any(len(word) == 64 for word in narrow.split())


def test_a_long_name_gives_way_to_numbers(stories: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    name = f"{'a' * 60}.gguf"
    (tmp_path / name).write_bytes(stories.read_bytes())
    (tmp_path / "text").write_text("a word and another " * 50)
    options = ("--text", "text", "--ctx", "32", "--chunks", "4")
    wide, narrow = (
        on_a_terminal(width, "perplexity", name, *options, folder=tmp_path).decode()
        for width in (300, 70)
    )
    assert name in wide and name not in narrow
    is_speed = re.compile(r"\d+\.\d *$", re.MULTILINE)
    assert_whole(is_speed.sub("", wide), narrow)
    assert re.search(r"\d \+/- \d", narrow)
    assert max(map(len, narrow.splitlines())) <= 76


def assert_whole(wide: str, narrow: str) -> None:
    """All short words of the one are in the other."""
    words = [word for word in wide.split() if len(word) <= 12 and word.strip("─")]
    assert words and all(words.count(word) <= narrow.split().count(word) for word in words)


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other side is closed
        return b""


def test_texts_in_files_are_whole_in_json(write: Write, tmp_path: Path) -> None:
    write(evil_model())
    code, output, errors = raw("inspect", "model.gguf", "--json", folder=tmp_path)
    assert (code, errors) == (0, b"")
    assert output.isascii() and b"\x1b" not in output
    told = json.loads(output)["metadata"]["general.name"]
    assert told.encode("utf-8", "surrogateescape") == EVIL


def test_an_error_about_such_a_file(write: Write, tmp_path: Path) -> None:
    bad = gguf([pair("general.architecture", STRING, EVIL), pair("k", U32, 1), pair("k", U32, 1)])
    write(bad, EVIL_NAME)
    for name in (EVIL_NAME, "absent" + EVIL_NAME):
        code, output, errors = raw("inspect", name, folder=tmp_path)
        assert (code, output) == (3 if name == EVIL_NAME else 2, b"")
        assert_harmless(errors)


@pytest.mark.parametrize(
    "command",
    [
        "inspect",
        "plan",
        "patch",
    ],
)
def test_names_of_files_too(write: Write, tmp_path: Path, command: str) -> None:
    write(llama_model(3), EVIL_NAME)
    rest = {"inspect": ["--metadata"], "plan": WINDOW, "patch": ["new" + EVIL_NAME, *WINDOW]}[
        command
    ]
    code, output, errors = raw(command, EVIL_NAME, *rest, folder=tmp_path)
    assert (code, errors) == (0, b"")
    assert_harmless(output)


def one_object(output: str) -> dict[str, object]:
    told = json.loads(output)
    assert isinstance(told, dict)
    return told


def test_json_of_inspect(stories: Path, surgeon: Run) -> None:
    done = surgeon("inspect", stories, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = one_object(done.stdout)
    assert told["n_blocks"] == 5
    assert told["n_bytes"] == stories.stat().st_size
    assert told["can_be_patched"] is True and told["refusal"] is None


def test_json_of_a_refusal(write: Write, surgeon: Run) -> None:
    write(llama_model(3, pair("general.type", STRING, "adapter")))
    done = surgeon("inspect", "model.gguf", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = one_object(done.stdout)
    assert told["can_be_patched"] is False and "adapter" in str(told["refusal"])


def test_json_of_plan_is_what_patch_writes(write: Write, tmp_path: Path, surgeon: Run) -> None:
    source = write(llama_model(3))
    before = listing(tmp_path)
    planned = surgeon("plan", source, *WINDOW, "--json")
    assert listing(tmp_path) == before
    patched = surgeon("patch", source, "new.gguf", *WINDOW, "--json")
    for done in (planned, patched):
        assert (done.returncode, done.stderr) == (0, "")
    told = one_object(planned.stdout)
    assert told.pop("memory")
    assert told.pop("n_bytes_of_files") == [(tmp_path / "new.gguf").stat().st_size]
    assert isinstance(told.pop("n_bytes_shareable"), int)
    assert told.pop("in_place")
    assert told.pop("fetched") is None
    found: dict[str, Any] = one_object(patched.stdout)
    n_bytes = found.pop("n_bytes_written") + found.pop("n_bytes_shared")
    assert n_bytes == (tmp_path / "new.gguf").stat().st_size
    files = {"destination": "new.gguf", "files": ["new.gguf"]}
    assert {**files, **told} == found
    assert told["write_plan"] == plan(source, PATCHED).write_plan.as_json()
    size = (tmp_path / "new.gguf").stat().st_size
    assert told["n_bytes"] == {"before": source.stat().st_size, "after": size}
    assert told["layer_path"] == "0..1,1..2"


def test_a_patch_tells_how_to_go_on(write: Write, tmp_path: Path, surgeon: Run) -> None:
    write(llama_model(3))
    done = surgeon("patch", "model.gguf", "new.gguf", *WINDOW)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ggufsurgeon verify new.gguf --source model.gguf" in done.stdout
    expected = result_of(plan(tmp_path / "model.gguf", PATCHED).write_plan)
    assert (tmp_path / "new.gguf").read_bytes() == expected


def test_the_identity_path_gives_the_identical_file(
    write: Write, tmp_path: Path, surgeon: Run
) -> None:
    source = write(llama_model(3) + b"trailing")
    done = surgeon("patch", source, "new.gguf", "--layers", "0..2")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new.gguf").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("option", ["", "--json"], ids=["text", "json"])
@pytest.mark.parametrize("command", ["inspect", "patch"])
def test_nobody_reads_the_output(write: Write, tmp_path: Path, command: str, option: str) -> None:
    write(llama_model(3))
    reader, writer = os.pipe()
    os.close(reader)
    _, errors = into(writer, command, option, folder=tmp_path)
    os.close(writer)
    assert errors == b""
    assert (tmp_path / "new.gguf").exists() == (command == "patch")


def into(output: int | None, command: str, *options: str, folder: Path) -> tuple[int, bytes]:
    """Run a command with this standard output; None for a closed one."""
    rest = {"inspect": ["--metadata"], "plan": WINDOW, "patch": ["new.gguf", *WINDOW]}[command]
    done = subprocess.run(
        [sys.executable, "-m", "ggufsurgeon", command, "model.gguf", *rest, *filter(None, options)],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=output,
        stderr=subprocess.PIPE,
        preexec_fn=(lambda: os.close(1)) if output is None else None,
    )
    return done.returncode, done.stderr


def test_output_into_a_full_disk(write: Write, tmp_path: Path) -> None:
    write(llama_model(3))
    with Path("/dev/full").open("wb") as full:
        code, errors = into(full.fileno(), "inspect", folder=tmp_path)
    assert code not in (0, 1)
    assert errors.startswith(b"error: ") and b"Traceback" not in errors


def test_no_output_at_all(write: Write, tmp_path: Path) -> None:
    write(llama_model(3))
    code, errors = into(None, "patch", folder=tmp_path)
    assert (code, errors) == (0, b"")
    assert (tmp_path / "new.gguf").exists()


def test_output_that_is_not_utf_8(write: Write, surgeon: Run) -> None:
    write(llama_model(3, pair("general.author", STRING, "日本")))
    done = surgeon("inspect", "model.gguf", env=ENVIRONMENT | {"PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stderr) == (0, "")
