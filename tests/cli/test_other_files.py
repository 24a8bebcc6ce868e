"""What is no language model, or no GGUF at all, given to every command: the same words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ggufsurgeon.verification.model_runs.model_run import shakespeare
from tests.cli.failing import Unchanged, assert_told
from tests.cli.test_help import COMMANDS
from tests.conftest import ROOT, Run
from tests.models import foreign
from tests.models.builders import llama_model

Write = Callable[..., Path]
WINDOW = ("--window", "1:2")
MIXED = ("--layers", "0,1:1", "--with", "bad")
TEXT = ("--text", "prose.txt", "--ctx", "16", "--chunks", "1")
COMMAND_LINES: dict[str, tuple[str, ...]] = {
    "plan": ("plan", "bad", *WINDOW),
    "patch": ("patch", "bad", "new.gguf", *WINDOW),
    "verify": ("verify", "bad", "--source", "good.gguf"),
    "verify_source": ("verify", "good.gguf", "--source", "bad"),
    "plan_with": ("plan", "good.gguf", *MIXED),
    "generate_with": ("generate", "good.gguf", *MIXED, "-p", "Once"),
    "restore": ("restore", "bad", "new.gguf"),
    "recipe": ("recipe", "bad"),
    "card": ("card", "bad"),
    "modelfile": ("card", "bad", "--modelfile"),
    "patch_companion": ("patch-companion", "bad", "new.gguf", "--source", "good.gguf", *WINDOW),
    "patch_companion_source": (
        *("patch-companion", "good.gguf", "new.gguf", "--source", "bad", *WINDOW),
    ),
    "perplexity": ("perplexity", "bad", *TEXT),
    "perplexity_base": ("perplexity", "good.gguf", *TEXT, "--base", "bad"),
    "generate": ("generate", "bad", "--prompt", "Once"),
    "chat": ("chat", "bad"),
    "serve": ("serve", "bad", "--port", "0"),
    "choose": ("choose", "bad", "--tasks", "choices.jsonl"),
    "choose_base": ("choose", "good.gguf", "--tasks", "choices.jsonl", "--base", "bad"),
    "leaderboard": ("leaderboard", "bad", "--tasks", "musr", "--data", "nowhere"),
    "leaderboard_base": (
        *("leaderboard", "good.gguf", "--tasks", "musr", "--data", "nowhere", "--base", "bad"),
    ),
    "scan": ("scan", "bad", "--arithmetic", "12", "--store", "new.db"),
    "search": ("search", "bad", "--arithmetic", "12", "--store", "new.db"),
    "anatomy": ("anatomy", "bad"),
}
SOME = ("plan", "verify_source", "perplexity_base", "chat", "scan")
"""Commands for a file that no command gets past opening."""
OF_COMPANIONS = {"patch_companion", "patch_companion_source"}
RUN_NO_MODEL = {
    "plan",
    "plan_with",
    "patch",
    "restore",
    "recipe",
    "card",
    "modelfile",
} | OF_COMPANIONS
TAKE_ANY_GGUF = {"inspect", "diff"}
WRITE = {*RUN_NO_MODEL, "scan"}
"""Commands whose refusal says that nothing was written."""


class Foreign(NamedTuple):
    """A file, the exit code, and what is said of it."""

    data: bytes
    code: int
    says: str


POINTER = Foreign(
    b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 105\n",
    3,
    "not a GGUF file but a Git LFS pointer to a file of 105 bytes",
)
IMAGE = Foreign(foreign.QWEN_IMAGE, 4, "bad is an image model (architecture 'qwen_image')")
OLLAMA = Foreign(foreign.OLLAMA, 4, "as Ollama's own conversions are: llama.cpp does not load it")


def test_every_command_that_opens_a_model_is_tried() -> None:
    tried = {arguments[0] for arguments in COMMAND_LINES.values()}
    assert tried == set(COMMANDS) - TAKE_ANY_GGUF - {"report", "recover", "selftest"}


@pytest.mark.parametrize(
    ("bad", "name"),
    [*((IMAGE, name) for name in COMMAND_LINES), *((POINTER, name) for name in SOME)],
    ids=lambda value: value if isinstance(value, str) else value.says,
)
def test_every_command_says_what_the_file_is(
    bad: Foreign, name: str, write: Write, tmp_path: Path, stories: Path, surgeon: Run
) -> None:
    if name not in RUN_NO_MODEL:
        pytest.importorskip("llama_cpp", reason="needs the llama extra")
    if name == "serve":
        pytest.importorskip("uvicorn", reason="needs the serve extra")
    write(bad.data, "bad").chmod(0o444)
    shutil.copy(stories, tmp_path / "good.gguf")
    shutil.copy(ROOT / "fixtures/tasks/choices.jsonl", tmp_path)
    write(shakespeare(), "prose.txt")
    with Unchanged(tmp_path):
        done = surgeon(*COMMAND_LINES[name])
    assert done.returncode == bad.code, done.stderr
    assert bad.says in done.stderr
    assert "Traceback" not in done.stderr
    if bad is IMAGE:
        assert ("Nothing was written." in done.stderr) == (name in WRITE)
        assert ("Give the GGUF of a language model" in done.stderr) == (name not in WRITE)


def test_any_two_files_can_be_compared(write: Write, surgeon: Run) -> None:
    write(IMAGE.data, "image")
    write(llama_model(3), "model")
    assert surgeon("diff", "image", "image").returncode == 0
    done = surgeon("diff", "image", "model")
    assert (done.returncode, done.stderr) == (7, "")
    assert "transformer_blocks.0.attn.to_q.weight" in done.stdout


def test_an_ollama_conversion_is_told_before_a_byte_is_written(
    write: Write, tmp_path: Path, surgeon: Run
) -> None:
    write(OLLAMA.data, "sha256-6a0746").chmod(0o444)
    with Unchanged(tmp_path):
        done = surgeon("patch", "sha256-6a0746", "new.gguf", *WINDOW)
        assert_told(done, OLLAMA.code, OLLAMA.says)
    assert "Download a GGUF of the same model" in done.stderr


def test_a_blob_that_is_an_ordinary_gguf_is_a_source(
    write: Write, tmp_path: Path, surgeon: Run
) -> None:
    write(llama_model(3), "sha256-6a0746").chmod(0o444)
    done = surgeon("patch", "sha256-6a0746", "new.gguf", *WINDOW)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new.gguf").exists()


@pytest.mark.parametrize(
    ("data", "first"),
    [
        (foreign.QWEN_IMAGE, "model.gguf is an image model (architecture 'qwen_image'): this "),
        (foreign.STABLE_DIFFUSION, "model.gguf is an image model: this program is about "),
        (foreign.WAN, "model.gguf is a video model (architecture 'wan'): this program is about "),
        (foreign.MMPROJ, "model.gguf is a projector of images or sound (mmproj): "),
        (foreign.OLLAMA, "model.gguf is a model with its vision or sound part in the same file"),
        (llama_model(3), "model.gguf\n"),
    ],
)
def test_inspect_says_it_on_its_first_line(
    data: bytes, first: str, write: Write, surgeon: Run
) -> None:
    write(data)
    done = surgeon("inspect", "model.gguf")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(first)
    assert " size " in done.stdout
    assert ("what to do" in done.stdout) == (data in (foreign.MMPROJ, foreign.OLLAMA))


def test_data_that_were_never_downloaded_are_noted(
    write: Write, stories: Path, surgeon: Run
) -> None:
    whole = stories.read_bytes()
    write(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    inspected, planned = surgeon("inspect", "model.gguf"), surgeon("plan", "model.gguf", *WINDOW)
    assert inspected.returncode == planned.returncode == 0
    assert "ends in zeros, as that of an unfinished download does" in inspected.stdout
    assert "note: the source's data end in zeros, as those of an unfini" in planned.stdout
