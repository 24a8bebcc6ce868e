"""Texts that take more stack than a thread has: they are read, or blamed themselves."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices
from ggufsurgeon.engine.tokenizing import longest_run
from ggufsurgeon.errors import UsageError
from ggufsurgeon.workers.crash import Death, crash_error
from ggufsurgeon.workers.session import Reporter, Session
from ggufsurgeon.workers.worker import Worker
from tests.conftest import ROOT, Run
from tests.models.vocabularies import with_byte_tokens

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def model(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose pre-tokenizer is a regular expression."""
    return with_byte_tokens(stories, tmp_path_factory.mktemp("bpe") / "bpe.gguf", "gpt-4o")


def read_text(session: Session, path: Path, text: bytes, _: Reporter) -> list[int]:
    """A job: the tokens of a text."""
    return [int(token) for token in session.model(path, Devices(n_threads=1)).tokenize(text)]


@pytest.mark.parametrize(("character", "n"), [("a", 200_000), ("\n", 30_000), ("?", 100_000)])
def test_long_runs_are_read_as_the_same_tokens(model: Path, character: str, n: int) -> None:
    before = threading.stack_size()
    with Worker() as worker:
        few = worker.run(read_text, model, character.encode() * 200)
        assert worker.run(read_text, model, character.encode() * n) == few * (n // 200)
    assert threading.stack_size() == before


def test_a_long_run_is_measured(model: Path, surgeon: Run, write: Write) -> None:
    text = write(b"Hello." + b"\n" * 40_000 + b"a" * 40_000, "runs.txt")
    options = ("--ctx", "16", "--chunks", "1", "--threads", "1", "--json")
    done = surgeon("perplexity", model, "-f", text, *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_chunks"] == 1


def read_within(
    session: Session, path: Path, text: bytes, n_bytes: int, reporter: Reporter
) -> list[int]:
    """A job: the tokens of a text, with so many bytes of address space left for all it needs."""
    session.model(path, Devices(n_threads=1))
    found = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (1024 * int(found[1]) + n_bytes,) * 2)
    return read_text(session, path, text, reporter)


def test_a_run_too_long_for_any_stack_is_to_blame(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")  # glibc would try to map another with each call
    run = b"Hello.\n\n" + b"b" * 800_000 + b" end"
    with Worker() as worker, pytest.raises(UsageError) as caught:
        worker.run(read_within, model, run, 300 << 20)  # the stack is then of 200 MB
    told = str(caught.value)
    assert "crashed on the text (SIGSEGV)" in told
    assert told.endswith("800,000 letters without a break, from line 3 on")
    assert caught.value.hint and str(model) not in told


def test_where_no_thread_starts_a_text_is_read_all_the_same(model: Path) -> None:
    text = b"Hello there. " * 500
    with Worker() as worker:
        expected = worker.run(read_text, model, text)
    with Worker() as worker:
        assert worker.run(read_within, model, text, 3 << 20) == expected


def test_a_client_does_not_end_the_server(model: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the serve extra")
    openai = pytest.importorskip("openai", reason="needs the serve extra")
    from tests.serving.server import running_server

    with running_server(model, "--ctx", "256", "--threads", "1") as server:
        client = server.client()
        with pytest.raises(openai.BadRequestError, match="exceed context window"):
            client.completions.create(model="bpe", prompt="\n" * 200_000)
        assert client.completions.create(model="bpe", prompt="Hi", max_tokens=2).choices


@pytest.mark.parametrize(
    ("text", "line", "length", "kind"),
    [
        ("a1\n\nbc 22222", 3, 5, "digits"),
        ("x", 1, 1, "letters"),
        ("one\ntwo\n" + "\n" * 9 + "end", 2, 10, "white-space characters"),
        ("héé …", 1, 3, "letters"),
        ("so ... ?!?! no", 1, 4, "punctuation characters"),
    ],
)
def test_the_longest_run_is_named(text: str, line: int, length: int, kind: str) -> None:
    assert longest_run(text.encode()) == (line, length, kind)


@pytest.mark.parametrize(
    ("status", "reading", "printed"),
    [(-9, "a run", ""), (-11, "", ""), (1, "a run", ""), (-6, "a run", "std::bad_alloc")],
)
def test_other_deaths_are_not_the_texts_fault(status: int, reading: str, printed: str) -> None:
    assert not isinstance(crash_error(Death(status, printed, "job", None, reading)), UsageError)
    assert isinstance(crash_error(Death(-11, "", "job", None, "a run")), UsageError)


def test_only_long_runs_are_suspected() -> None:
    """In a process of its own, since what reports to is never taken back."""
    code = """if True:
        from pathlib import Path
        from ggufsurgeon.engine import tokenizing
        from ggufsurgeon.engine.model import Devices, loaded_model
        reported = []
        tokenizing.report_reading(reported.append)
        with loaded_model(Path("fixtures/stories260K.gguf"), Devices(n_threads=1)) as model:
            model.tokenize(b"word " * 5000)
            assert reported == [""], reported
            model.tokenize(b"a" * tokenizing.LONG_RUN)
            assert "10,000 letters" in reported[1], reported
    """
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
