"""Headers of files that cannot be read, or are truncated meanwhile, give errors, not SIGBUS."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.container import file_bytes
from ggufsurgeon.container.file_bytes import FileBytes
from ggufsurgeon.container.headers import codec
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.errors import MalformedFileError
from tests.models.builders import ARRAY, STRING, gguf, llama_pairs, pair
from tests.models.strategies import files
from tests.writing.strikes import ForkedProgram, forked_program

CONTENT = bytes(range(256)) * 3
bounds = st.none() | st.integers(-900, 900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytes")


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[ForkedProgram]:
    with forked_program(folder) as program:
        yield program


def of(content: bytes, folder: Path, ahead_n_bytes: int) -> Iterator[FileBytes]:
    """These bytes as those of a file, of which so many are read ahead."""
    path = folder / "content"
    path.write_bytes(content)
    with path.open("rb") as file, pytest.MonkeyPatch.context() as patched:
        patched.setattr(file_bytes, "AHEAD_N_BYTES", ahead_n_bytes)
        yield FileBytes(file.fileno(), len(content), path)


@given(st.lists(st.tuples(bounds, bounds), min_size=1, max_size=9), st.integers(1, 800))
def test_slices_are_those_of_bytes(
    folder: Path, places: list[tuple[int | None, int | None]], ahead_n_bytes: int
) -> None:
    for data in of(CONTENT, folder, ahead_n_bytes):
        assert len(data) == len(CONTENT)
        for start, end in places:
            assert data[start:end] == CONTENT[start:end]


@given(files(), st.integers(0, 400), st.integers(1, 100), st.integers(8, 50))
def test_headers_are_those_of_bytes(
    folder: Path, content: bytes, n_cut: int, ahead_n_bytes: int, window_n_bytes: int
) -> None:
    """Their errors too, also where strings lie across windows."""
    content = content[: len(content) - n_cut]
    with pytest.MonkeyPatch.context() as patched:
        whole = outcome(content)
        patched.setattr(codec, "WINDOW_N_BYTES", window_n_bytes)
        for data in of(content, folder, ahead_n_bytes):
            assert outcome(data) == whole == outcome(content)


def outcome(data: bytes | FileBytes) -> object:
    try:
        return parse_header(data, "any")
    except MalformedFileError as error:
        return str(error), error.hint


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A header of several reads."""
    words = [f"word {number}" for number in range(20_000)]
    path = tmp_path / "model.gguf"
    tokens = pair("tokenizer.ggml.tokens", ARRAY, (STRING, words))
    path.write_bytes(gguf([*llama_pairs(2), tokens]))
    return path


COMMANDS = (
    ("inspect", "model.gguf"),
    ("patch", "model.gguf", "new.gguf", "--window", "0:1"),
)
each_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])


@each_command
def test_cut_while_it_is_read(program: ForkedProgram, model: Path, command: Sequence[str]) -> None:
    run = program.run(
        model.parent,
        *command,
        trace=["pread64"],
        inject="pread64:signal=SIGSTOP:when=2",
        meanwhile=lambda: os.truncate(model, 100_000),
    )
    assert (run.code, run.stderr.splitlines()) == (
        2,
        [
            "error: model.gguf: ends at byte 100000, and was longer when it was opened",
            "  Wait until nothing writes to it, then try again.",
        ],
    )


@each_command
def test_a_disk_that_fails(program: ForkedProgram, model: Path, command: Sequence[str]) -> None:
    run = program.run(
        model.parent,
        *command,
        trace=["pread64"],
        inject="pread64:error=EIO:when=2",
    )
    error, hint = run.stderr.splitlines()
    assert run.code == 2 and "disk" in hint
    assert error.startswith("error: model.gguf: cannot be read at byte ")
    assert error.endswith(": Input/output error")
