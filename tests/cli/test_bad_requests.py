"""Requests that no model can meet: exit code 2, one message, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import ggufsurgeon as gs
from ggufsurgeon.cli.app import make_app
from ggufsurgeon.cli.shared_options.options import layer_path
from ggufsurgeon.errors import GgufSurgeonError, RefusedError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from tests.calls import patch
from tests.cli.failing import Unchanged, assert_told
from tests.conftest import Run
from tests.models.builders import llama_model

Write = Callable[..., Path]


def options(text: str) -> list[str]:
    """Arguments, one behind each `|`."""
    return text.split("|") if text else []


USAGE = [
    # windows and drops: out of range, empty, backwards, none
    ("--window|0:4", "0:4 reaches past the end of the model, whose 3 blocks"),
    ("--window|3:4", "3:4 reaches past"),
    ("--window|0:1|--window|2:9", "2:9 reaches past"),
    ("--window|0:99999999999", "no model has a block 99999999999"),
    ("--window|1:1", "is empty"),
    ("--window|2:1", "runs backwards"),
    ("--window|", "expected I:J"),
    ("--window|1", "expected I:J"),
    ("--window|1-2", "expected I:J"),
    ("--window|-1:2", "expected I:J"),
    ("--window|1:2:3", "expected I:J"),
    ("--window|1.0:2", "expected I:J"),
    ("--window|\u0661:2", "expected I:J"),
    ("--window|\x1b[31m", "expected I:J"),
    ("--drop|0:3", "all 3 blocks would be dropped"),
    ("--drop|0:2|--drop|1:3", "all 3 blocks would be dropped"),
    ("--drop|0:4", "0:4 reaches past"),
    ("--drop|2:2", "is empty"),
    ("--drop|x", "expected I:J"),
    # the whole path
    ("--layers|", "the layer path is empty"),
    ("--layers| ", "the layer path is empty"),
    ("--layers|,", "is not a range"),
    ("--layers|0..1,", "is not a range"),
    ("--layers|all", "is not a range"),
    ("--layers|0...2", "is not a range"),
    ("--layers|0-2", "is not a range"),
    ("--layers|-1", "is not a range"),
    ("--layers|b:1..2", "'b:1..2' is not a range"),
    ("--layers|0..3", "there is no block 3; the last one is 2"),
    ("--layers|3", "there is no block 3"),
    ("--layers|2..0", "runs backwards"),
    ("--layers|0..99999999999", "no model has a block 99999999999"),
    ("--layers|0..9999", "there is no block 3"),
    ("--layers|1:0..2", "there is no source 1"),
    # combinations
    ("", "none is given"),
    ("--window|0:1|--drop|1:2", "they exclude each other"),
    ("--window|0:1|--layers|0..2", "they exclude each other"),
    ("--drop|0:1|--layers|0..2", "they exclude each other"),
    ("--window|0:1|--drop|1:2|--layers|0..2", "they exclude each other"),
    ("--times|2", "none is given"),
    ("--times|2|--drop|0:1", "--times requires --window"),
    ("--times|2|--layers|0..2", "--times requires --window"),
    ("--times|0|--window|0:1", "cannot run 0 times"),
    ("--times|-1|--window|0:1", "cannot run -1 times"),
    ("--times|513|--window|0:1", "cannot run 513 times"),
]
TOO_LONG = ["--window|0:3|--times|512", "--layers|" + ",".join(["0..2"] * 171)]


def asked_of_patch(arguments: list[str]) -> AnyPath:
    """What the program's parser makes of the arguments, less the files."""
    command: Any = get_command(make_app(["patching.patch"]))
    context = command.commands["patch"].make_context("patch", ["a", "b", *arguments])
    return layer_path(*(context.params[key] for key in ("window", "times", "drop", "layers")))


def told(source: Path, arguments: list[str], kind: type[GgufSurgeonError]) -> GgufSurgeonError:
    with Unchanged(source.parent), pytest.raises(kind) as caught:
        patch(source, source.parent / "new.gguf", asked_of_patch(arguments))
    return caught.value


@pytest.mark.parametrize(("arguments", "says"), USAGE)
def test_a_path_that_is_none(write: Write, arguments: str, says: str) -> None:
    error = told(write(llama_model(3)), options(arguments), UsageError)
    assert error.exit_code == 2
    assert says in str(error)


@pytest.mark.parametrize("arguments", TOO_LONG, ids=["window", "layers"])
def test_a_path_that_llama_cpp_cannot_run(write: Write, arguments: str) -> None:
    error = told(write(llama_model(3)), options(arguments), RefusedError)
    assert error.exit_code == 4
    assert "more than 512" in str(error)


def test_512_blocks_are_not_too_many(write: Write) -> None:
    source = write(llama_model(1))
    patch(source, source.parent / "new.gguf", layer_path(["0:1"], 512, None, None))
    blocks = gs.open(source.parent / "new.gguf").inspect().blocks
    assert blocks is not None and len(blocks) == 512


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("--window|0:4", 2, "reaches past"),
        ("", 2, "--window, --drop, --layers, --recipe and --from-scan: none is given"),
        ("--layers|0,b:1..2*0.5", 2, "Models have numbers here, not names: 1:1..2 is of model 1."),
        ("--layers|\x1b[31m\udcff", 2, "is not a range"),
        ("--drop|0:3", 2, "would be dropped"),
        (TOO_LONG[0], 4, "more than 512"),
    ],
    ids=["window", "nothing", "named", "escapes", "all", "too-long"],
)
def test_the_program_says_so(
    write: Write, tmp_path: Path, surgeon: Run, arguments: str, code: int, says: str
) -> None:
    write(llama_model(3))
    with Unchanged(tmp_path):
        done = surgeon("patch", "model.gguf", "new.gguf", *options(arguments))
        assert_told(done, code, says)
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    ["nonsense", "patch", "plan|model.gguf|--times|two"],
)
def test_what_the_parser_does_not_take(tmp_path: Path, surgeon: Run, arguments: str) -> None:
    done = surgeon(*options(arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error" in done.stderr and "-h" in done.stderr
    assert "Traceback" not in done.stderr
