"""`chat` as a user sees it, through a pipe and in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from tests.cli.failing import assert_told
from tests.conftest import ROOT, Run
from tests.interrupts import heed_interrupts
from tests.models.builders import with_text
from tests.serving.server import answers_of_file

OPTIONS = ("--chat-format", "chatml", "--ctx", "512", "--temperature", "0", "--tokens", "16")


def test_each_path_answers_as_its_written_file(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    """The first answers of conversations, since what is said before matters."""
    surgeon("patch", stories, "patched.gguf", "--window", "1:3")
    typed = "Hello\n/reset\n/path plain\nHello\n/reset\n/path 0..2,1..4\nHello\n"
    done = surgeon("chat", stories, "--window", "1:3", *OPTIONS, input=typed)
    assert done.returncode == 0, done.stderr
    (patched,) = answers_of_file(tmp_path / "patched.gguf", ["Hello"], 16)
    (plain,) = answers_of_file(stories, ["Hello"], 16)
    assert done.stdout == "".join(f"{text}\n" for text in (patched, plain, patched))
    assert "layer path: 0..2,1..4" in done.stderr and "tokens/s" in done.stderr


def test_what_was_said_is_remembered_until_reset(stories: Path, surgeon: Run) -> None:
    typed = "Hello\nHello\n/reset\nHello\n/quit\nnot read\n"
    told = surgeon("chat", stories, *OPTIONS, input=typed).stdout
    (first,) = answers_of_file(stories, ["Hello"], 16)
    assert told.startswith(f"{first}\n") and told.endswith(f"\n{first}\n")
    second = told.removeprefix(f"{first}\n").removesuffix(f"{first}\n")
    assert second not in ("", f"{first}\n")


def test_a_system_prompt_stays(stories: Path, surgeon: Run) -> None:
    told = surgeon(
        "chat", stories, *OPTIONS, "-sys", "The dog ran. " * 9, input="Hello\n/reset\nHello\n"
    )
    once = surgeon("chat", stories, *OPTIONS, "-sys", "The dog ran. " * 9, input="Hello\n")
    without = surgeon("chat", stories, *OPTIONS, input="Hello\n")
    assert told.stdout == once.stdout * 2 != without.stdout * 2


def test_mistakes_do_not_end_the_conversation(stories: Path, surgeon: Run) -> None:
    long = "word " * 600
    typed = f"/path 0..9\n/path x\n/nonsense\n/help\n\n{long}\nHello\n"
    done = surgeon("chat", stories, *OPTIONS, input=typed)
    assert done.returncode == 0
    assert done.stdout == f"{answers_of_file(stories, ['Hello'], 16)[0]}\n"
    for told in (
        "there is no block 5",
        "The layer path is still plain.",
        "/nonsense is not a command",
        "exceed context window of 512",
        "/reset clears the conversation; a larger --ctx",
        "The message is not part of the conversation.",
    ):
        assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_bytes_that_are_no_text(stories: Path) -> None:
    command = [sys.executable, "-m", "ggufsurgeon", "chat", str(stories), *OPTIONS]
    done = subprocess.run(command, input=b"Hello \xff\n", capture_output=True, cwd=ROOT)
    assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr


def test_an_output_that_takes_no_more(stories: Path) -> None:
    command = [sys.executable, "-m", "ggufsurgeon", "chat", str(stories), *OPTIONS]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, input="Hi\n", stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    assert done.returncode == 5 and "No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ((), 2, "has no chat template"),
        (("--chat-format", "nonsense"), 2, "no chat format has this name: nonsense"),
        (("--chat-format", "chatml", "--window", "3:9"), 2, "reaches past the end of the model"),
    ],
)
def test_what_makes_it_impossible_is_told_at_once(
    stories: Path, surgeon: Run, options: tuple[str, ...], code: int, says: str
) -> None:
    assert_told(surgeon("chat", stories, *options, input="Hello\n"), code, says)


def with_template(stories: Path, folder: Path, template: str) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(with_text(stories.read_bytes(), "tokenizer.chat_template", template))
    return path


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "is nested too deep"),
        ("{% if %}", "cannot be used: Expected an expression"),
        pytest.param("{{ 10**(10**10) }}", "longer than 5 seconds", marks=pytest.mark.slow),
    ],
)
def test_a_template_that_cannot_be_compiled(
    stories: Path, surgeon: Run, tmp_path: Path, template: str, says: str
) -> None:
    """Constants are computed then. Another format can still be chosen by its name."""
    model = with_template(stories, tmp_path, template)
    assert_told(surgeon("chat", model, "--ctx", "512", input="Hello\n"), 2, says)
    assert surgeon("chat", model, *OPTIONS, input="Hello\n").stdout


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('\\x1b]52;c;YQ==\\x07' * 999) }}", "refuses the conversation: "),
        ("{{ messages.__class__ }}{{ [].__class__.__mro__ }}", "'__class__' of 'list' object is"),
        pytest.param(
            "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3,
            "cannot be used: it takes longer than 5 seconds",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_template_that_fails_on_a_message(
    stories: Path, surgeon: Run, tmp_path: Path, template: str, says: str
) -> None:
    model = with_template(stories, tmp_path, template)
    done = surgeon("chat", model, "--ctx", "512", input="Hello\n", timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    assert says in done.stderr and "Traceback" not in done.stderr
    assert "The message is not part of the conversation." in done.stderr
    assert all(c.isprintable() or c == "\n" for c in done.stderr) and len(done.stderr) < 2500


def test_ctrl_c_stops_an_answer_and_not_the_program(stories: Path) -> None:
    options = [*OPTIONS[:-2], "--ctx", "100000", "--tokens", "90000", "--threads", "1"]
    with Terminal(["chat", str(stories), *options]) as terminal:
        terminal.wait_for("> ")
        terminal.type("Hello\n")
        terminal.wait_for(" ")
        time.sleep(0.5)
        terminal.type("\x03")
        terminal.wait_for("stopped")
        terminal.wait_for("> ")
        time.sleep(0.5)  # between its prompt and its select(), readline misses a signal
        terminal.type("\x03")
        terminal.wait_for("/quit or Ctrl-D ends the conversation")
        terminal.type("/reset\n")
        terminal.wait_for("conversation cleared")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.process.wait(20) == 0


class Terminal:
    """The program in a terminal of its own, in which Ctrl-C is a signal."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._seen = ""

    def __enter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ggufsurgeon", *self._arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Read on until the text was seen, behind what earlier calls have waited for."""
        end = time.monotonic() + seconds
        while text not in self._seen:
            assert time.monotonic() < end, self._seen
            if select.select([self._master], [], [], 0.1)[0]:
                self._seen += os.read(self._master, 65536).decode(errors="replace")
        self._seen = self._seen.partition(text)[2]


def _take_terminal() -> None:
    """Make standard input the terminal of a new session, whose Ctrl-C is heeded."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    heed_interrupts()
