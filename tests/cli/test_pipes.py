"""Texts and tasks that can be read but once: pipes, named pipes, standard input."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run
from tests.multiple_choice.tasks import TASKS

pytest.importorskip("llama_cpp", reason="needs the llama extra")

SHORT = ["--ctx", "64", "--chunks", "2", "--threads", "1"]
COMMANDS: dict[str, list[str | Path]] = {
    "perplexity": ["--json", *SHORT],
    "scan": ["--store", "scan.db", "--layers", "0..1,1..4", "--json", *SHORT],
    "choose": ["--base", ROOT / "fixtures/stories260K.gguf", "--threads", "1"],
}


def content_for(command: str) -> bytes:
    if command == "choose":
        return (TASKS / "choices.jsonl").read_bytes()
    return b"Once upon a time there was a little dog. " * 60


def writing(path: Path | int, content: bytes) -> None:
    """Write into a pipe, which waits for its reader, in a thread."""

    def write() -> None:
        descriptor = path if isinstance(path, int) else os.open(path, os.O_WRONLY)
        with os.fdopen(descriptor, "wb") as pipe:
            pipe.write(content)

    threading.Thread(target=write, daemon=True).start()


def read_from_named_pipe(run: Callable[..., str], content: bytes, folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    writing(folder / "pipe", content)
    return run("pipe")


def read_from_descriptor(run: Callable[..., str], content: bytes, folder: Path) -> str:
    """As a shell gives it: <(cat FILE)."""
    reader, writer = os.pipe()
    writing(writer, content)
    try:
        return run(f"/dev/fd/{reader}", pass_fds=[reader])
    finally:
        os.close(reader)


def read_from_standard_input(run: Callable[..., str], content: bytes, folder: Path) -> str:
    reader, writer = os.pipe()
    writing(writer, content)
    with os.fdopen(reader) as stream:
        return run("/dev/stdin", stdin=stream)


@pytest.mark.parametrize(
    ("command", "read"),
    [
        ("perplexity", read_from_named_pipe),
        ("perplexity", read_from_descriptor),
        ("perplexity", read_from_standard_input),
        ("scan", read_from_named_pipe),
        ("choose", read_from_descriptor),
    ],
)
def test_a_pipe_is_read_once(
    stories: Path,
    tmp_path: Path,
    surgeon: Run,
    command: str,
    read: Callable[[Callable[..., str], bytes, Path], str],
) -> None:
    def run(name: str, **options: object) -> str:
        done = surgeon(command, stories, "-f", name, *COMMANDS[command], timeout=60, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert read(run, content_for(command), tmp_path)


def test_the_logits_of_a_text_do_not_replace_it(
    stories: Path, tmp_path: Path, surgeon: Run
) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(content_for("perplexity"))
    saving = ["--save-logits", text, "--replace"]
    done = surgeon("perplexity", stories, "-f", text, *saving, *SHORT)
    assert done.returncode == 4, done.stderr
    assert text.read_bytes() == content_for("perplexity")
