"""Every command on files that fuzzing found, and on large files made to waste time and memory.

Commands must end with a known exit code, without a traceback or terminal control characters, and
use time and memory in proportion to the file.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from ggufsurgeon.verification.model_runs.model_run import shakespeare
from tests.cli.test_other_files import COMMAND_LINES, RUN_NO_MODEL, WINDOW
from tests.conftest import ROOT
from tests.fuzzing.large_files import MAKE
from tests.models.builders import (
    STRING,
    Tensor,
    block_tensors,
    gguf,
    llama_model,
    llama_pairs,
    pair,
)

pytestmark = pytest.mark.slow
FILE_COMMANDS: dict[str, tuple[str, ...]] = {
    **{name: line for name, line in COMMAND_LINES.items() if name in RUN_NO_MODEL},
    "inspect": ("inspect", "bad", "--metadata"),
    "inspect_json": ("inspect", "bad", "--json"),
    "inspect_hash": ("inspect", "bad", "--hash"),
    "plan_json": ("plan", "bad", *WINDOW, "--json"),
    "diff": ("diff", "bad", "good.gguf"),
}
MODEL_COMMANDS = {name: line for name, line in COMMAND_LINES.items() if name not in RUN_NO_MODEL}
CODES = {0, 2, 3, 4, 7}
SECONDS = 2
"""CPU time of a command beyond that which it takes for a good file, and beyond that for tables:
`inspect` draws a row for each pair and tensor if it is asked to."""
BYTES_PER_SECOND = 100_000
MOST_N_BYTES = 1 << 30
"""Address space of a command that runs no model. What laws take is measured in tests/fuzzing."""
ESCAPES = b"\x1b]0;owned\x07\x1b[2J\x9b31m\r\n\xe2\x80\xae<script>&\xff"


class Done(NamedTuple):
    """What a process left behind."""

    code: int
    output: bytes
    errors: bytes
    seconds: float


def measured(arguments: tuple[str, ...], folder: Path) -> Done:
    """Run the program, in little memory if it runs no model, and ask the system what it took."""
    runs_no_model = arguments in FILE_COMMANDS.values()
    command = [sys.executable, "-m", "ggufsurgeon", *arguments]
    with (folder / "output").open("wb") as output, (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=_limit_memory if runs_no_model else None,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Done(
        process.returncode,
        (folder / "output").read_bytes(),
        (folder / "errors").read_bytes(),
        used.ru_utime + used.ru_stime,
    )


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_N_BYTES, MOST_N_BYTES))


def hostile() -> bytes:
    """A model with escape sequences and markup in all of its strings."""
    tensors = [*block_tensors(3), Tensor("\x1b[7m")]
    pairs = [
        *llama_pairs(3),
        pair("general.description", STRING, ESCAPES),
        pair(b"llama." + ESCAPES, STRING, ESCAPES),
    ]
    return gguf(pairs, tensors)


@cache
def samples() -> tuple[bytes, ...]:
    """Files of the corpus that can be read, that are broken, and that have a record."""
    found = [hostile()]
    for name in ("header", "planning", "restoring"):
        kept = sorted((ROOT / "fixtures/fuzz_corpus" / name).iterdir())
        found.append(kept[len(kept) // 2].read_bytes())
    return tuple(found)


@pytest.fixture
def folder(tmp_path: Path, stories: Path) -> Path:
    shutil.copy(stories, tmp_path / "good.gguf")
    shutil.copy(ROOT / "fixtures/tasks/choices.jsonl", tmp_path)
    (tmp_path / "prose.txt").write_bytes(shakespeare())
    return tmp_path


def check(arguments: tuple[str, ...], data: bytes, folder: Path, usual: Done) -> None:
    (folder / "bad").write_bytes(data)
    for new in (folder / "new.gguf", folder / "new.db"):
        new.unlink(missing_ok=True)
    done = measured(arguments, folder)
    assert done.code in CODES, (done.code, done.errors)
    assert b"Traceback" not in done.errors
    for text in (done.output, done.errors):
        assert not any(c < 32 and c != 10 for c in text), text
        assert "\u202e" not in text.decode() and "\x9b" not in text.decode()
    assert done.seconds - usual.seconds < SECONDS + len(data) / BYTES_PER_SECOND


@pytest.fixture(scope="module")
def usual(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Done]:
    """What a command takes for a good file."""

    @cache
    def of(name: str) -> Done:
        folder = tmp_path_factory.mktemp(name)
        for copy in ("bad", "good.gguf"):
            shutil.copy(stories, folder / copy)
        return measured(FILE_COMMANDS[name], folder)

    return of


@pytest.mark.parametrize("name", FILE_COMMANDS)
def test_commands_that_run_no_model(name: str, folder: Path, usual: Callable[[str], Done]) -> None:
    for data in samples():
        check(FILE_COMMANDS[name], data, folder, usual(name))


@pytest.mark.parametrize("make", MAKE, ids=lambda make: make.__name__)
def test_large_files(make: Callable[[], bytes], folder: Path, usual: Callable[[str], Done]) -> None:
    for name in ("inspect", "restore"):
        check(FILE_COMMANDS[name], make(), folder, usual(name))


@pytest.mark.parametrize("name", MODEL_COMMANDS)
def test_commands_that_run_a_model(name: str, folder: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    if name == "serve":
        pytest.importorskip("uvicorn", reason="needs the serve extra")
    arguments = MODEL_COMMANDS[name]
    (folder / "bad").write_bytes(llama_model(3))  # which llama.cpp does not load
    unloadable = measured(arguments, folder)
    for data in samples()[:2]:
        check(arguments, data, folder, unloadable)
