"""Commands that run models beside each other, as a user sees them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from tests.conftest import Run
from tests.interrupts import children, started
from tests.models.expanding import expand_named
from tests.models.fine_tunes import fine_tune
from tests.serving.server import answers_of_file

PROMPT = ("--prompt", "Once upon a time, Lily")
LAYERS = ("--layers", "0..2,1:2..4")
TEXT = "Once upon a time there was a little dog. It liked to play in the park. " * 60


@pytest.fixture
def second(stories: Path, tmp_path: Path) -> Path:
    return fine_tune(stories, tmp_path / "second.gguf")


@pytest.fixture
def written(stories: Path, second: Path, surgeon: Run, tmp_path: Path) -> Path:
    done = surgeon("patch", stories, "written.gguf", *LAYERS, "--with", second)
    assert done.returncode == 0, done.stderr
    return tmp_path / "written.gguf"


def test_generate_says_what_the_written_file_says(
    stories: Path, second: Path, written: Path, surgeon: Run
) -> None:
    expected = surgeon("generate", written, *PROMPT, "--tokens", "20").stdout
    for given in (second, f"tuned={second}"):
        done = surgeon("generate", stories, *PROMPT, *LAYERS, "--with", given, "--tokens", "20")
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected
        assert "20 tokens along 0..2,1:2..4 (aliased)" in done.stderr
        assert "2 models are loaded side by side, 2.37 MB together" in done.stderr
    routed = ("--with", second, "--routed", "--tokens", "20", "--json")
    told = json.loads(surgeon("generate", stories, *PROMPT, *LAYERS, *routed).stdout)
    assert told["execution"] == "routed" and told["text"] == expected[:-1]


def test_chat_answers_along_paths_over_all(
    stories: Path, second: Path, written: Path, surgeon: Run
) -> None:
    options = ("--chat-format", "chatml", "--ctx", "512", "--temperature", "0", "--tokens", "16")
    typed = "Hello\n/reset\n/path plain\nHello\n/reset\n/path 0..2,1:2..4\nHello\n/path 1:7\n"
    typed = f"/path {LAYERS[1]}\n{typed}/path 2:0\n"  # it starts along no path over the second
    done = surgeon("chat", stories, "--with", second, *options, input=typed)
    assert done.returncode == 0, done.stderr
    (mixed,), (plain,) = (answers_of_file(file, ["Hello"], 16) for file in (written, stories))
    assert done.stdout == "".join(f"{text}\n" for text in (mixed, plain, mixed))
    assert "there is no block 7" in done.stderr
    assert "there is no model 2" in done.stderr and "--with FILE gives model 1" in done.stderr
    assert "The layer path is still 0..2,1:2..4." in done.stderr


def test_perplexity_is_that_of_the_written_file(
    stories: Path, second: Path, written: Path, surgeon: Run, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    options = ("--text", "text.txt", "--ctx", "64", "--chunks", "4", "--json")
    mixed = surgeon("perplexity", stories, "--with", second, *LAYERS, *options)
    alone = surgeon("perplexity", written, *options)
    assert mixed.returncode == alone.returncode == 0, mixed.stderr
    ours, theirs = (json.loads(done.stdout) for done in (mixed, alone))
    assert ours["perplexity"] == theirs["perplexity"]


@pytest.mark.parametrize(
    ("given", "layers", "code", "says"),
    [
        (("--with", "missing.gguf"), "0..2,1:3", 2, "missing.gguf: cannot be opened: No such file"),
        (("--with", "b="), "0..2,1:3", 2, "expected a file, or NAME=FILE"),
        ((), "0..2,1:3", 2, "there is no model 1"),
        (("--with", "second.gguf"), "0..2,1:1,2:3", 2, "there is no model 2"),
        (
            ("--with", "second.gguf"),
            "0..2,1:5",
            2,
            "there is no block 5 of model 1; the last one of it is 4",
        ),
        (("--with", "wide.gguf"), "0..2,1:3", 4, "wide.gguf"),
    ],
)
def test_what_cannot_be(
    stories: Path,
    second: Path,
    surgeon: Run,
    tmp_path: Path,
    given: tuple[str, ...],
    layers: str,
    code: int,
    says: str,
) -> None:
    expand_named("llama-dense", tmp_path / "wide.gguf")
    done = surgeon("generate", stories, *PROMPT, *given, "--layers", layers)
    assert done.returncode == code, done.stderr
    assert says in done.stderr and done.stdout == "" and "Traceback" not in done.stderr


def test_another_vocabulary_is_told_of(surgeon: Run, tmp_path: Path) -> None:
    """Blocks read no tokens, so they may come from a model of another language."""
    names = "qwen3-dense@words=stories260K", "qwen3-dense"
    first, second = (expand_named(name, tmp_path / f"{n}.gguf") for n, name in enumerate(names))
    layers = ("--layers", "0..3,1:4..5,6..7", "--tokens", "4")
    done = surgeon("generate", first, *PROMPT, "--with", second, *layers)
    assert done.returncode == 0, done.stderr
    assert "1.gguf has another vocabulary than" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_end_amid_the_text(number: int, stories: Path, second: Path) -> None:
    """Ctrl-C, and the death of the process that has both models: nothing stays behind."""
    command = [sys.executable, "-m", "ggufsurgeon", "generate", str(stories), *PROMPT, *LAYERS]
    command += ["--with", str(second), "--tokens", "100000", "--threads", "1"]
    pipe = subprocess.PIPE
    with started(command, start_new_session=True, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.read(40)
        (worker,) = children(process.pid)
        os.kill(process.pid if number == signal.SIGINT else worker, number)
        text, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 6), errors
    assert text.endswith(b"\n") and errors.count(b"error: ") == 1
