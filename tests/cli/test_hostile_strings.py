"""Hostile strings: every command on a model with control characters, markup and line breaks in all
strings, and in the names of its files."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.cli.output import terminal
from ggufsurgeon.verification.model_runs.model_run import shakespeare
from tests.conftest import ROOT
from tests.leaderboard.mirrors import musr, write_benchmark
from tests.models.builders import STRING, pair
from tests.models.companions import lora
from tests.models.hostile import CODES, EVIL, INJECTED, MARKUP, NAME_BYTES, hostile_model

MODEL, PATCHED, NEW, LORA = (
    os.fsdecode(NAME_BYTES + end) for end in (b".gguf", b"2.gguf", b"3.gguf", b"4.gguf")
)
TEXT, TASKS, STORE = (os.fsdecode(NAME_BYTES + end) for end in (b".txt", b".jsonl", b".db"))
MIRROR, NAME = os.fsdecode(NAME_BYTES), EVIL.replace("=", "")
DATA = "mirror"
"""`datasets` finds no file in a folder whose name has brackets: it takes them for a pattern."""
YAML, EVIL_YAML = (os.fsdecode(NAME_BYTES + end) for end in (b".yml", b"2.yml"))
CSV, HTML = (os.fsdecode(NAME_BYTES + end) for end in (b".csv", b".html"))
WINDOW = ("--window", "1:3")
MIXED = ("--layers", "0..1,1:1", "--with", PATCHED)
DEVICE = ("--threads", "1")
MOST_N_BYTES = 100_000
"""Printed for people, of strings of a megabyte; JSON has them whole."""
JSON_TYPE = {"content-type": "application/json"}
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "120"}


def run(*arguments: str, folder: Path, typed: str = "") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ggufsurgeon", *arguments]
    environment = ENVIRONMENT | {"HF_HOME": str(folder / "caches"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, env=environment, input=typed.encode(), timeout=300
    )


def assert_harmless(output: bytes) -> None:
    """Check for valid UTF-8 without control or bidirectional characters, or lines from a file."""
    text = output.decode()
    assert {c for c in text if not c.isprintable()} <= {"\n"}
    # A cell of a table that is too long goes on in the next line, behind its column's indent.
    assert not any(line.lstrip("│").startswith(INJECTED) for line in text.splitlines())


class Command(NamedTuple):
    """Arguments, and the exit code."""

    arguments: tuple[str, ...]
    code: int = 0
    has_json: bool = True
    typed: str = ""


HEADER_COMMANDS = {
    "inspect": Command(("inspect", MODEL, "--metadata", "--hash")),
    "plan": Command(("plan", MODEL, *WINDOW)),
    "patch": Command(("patch", MODEL, NEW, "--replace", *WINDOW)),
    "restore": Command(("restore", PATCHED, NEW, "--replace")),
    "recipe": Command(("recipe", PATCHED)),
    "card": Command(("card", PATCHED)),
    "diff": Command(("diff", MODEL, PATCHED), 7),
    "patch-companion": Command(
        ("patch-companion", LORA, NEW, "--replace", "--source", MODEL, *WINDOW, "--other-base")
    ),
    "adapter of another base": Command(
        ("patch-companion", LORA, NEW, "--replace", "--source", MODEL, *WINDOW), 4, False
    ),
    "absent file": Command(("inspect", f"absent{MODEL}"), 2, False),
    "one argument more": Command(("inspect", MODEL, TEXT), 2, False),
    "unknown option": Command(("inspect", f"--{TEXT}"), 2, False),
    "bad recipe": Command(("patch", MODEL, NEW, "--replace", "--recipe", TEXT), 2, False),
    "recipe in YAML": Command(("patch", MODEL, NEW, "--replace", "--recipe", YAML)),
    "too few models": Command(("plan", MODEL, "--recipe", EVIL_YAML), 2, False),
    "other names": Command(
        ("plan", MODEL, "--recipe", EVIL_YAML, "--with", f"{NAME}={PATCHED}"), 2, False
    ),
}
ENGINE_COMMANDS = {
    "plan of two": Command(("plan", MODEL, *MIXED)),
    "patch of two": Command(("patch", MODEL, NEW, "--replace", *MIXED)),
    "verify": Command(("verify", PATCHED, "--source", MODEL, *DEVICE)),
    "generate": Command(("generate", MODEL, *WINDOW, "-p", "Once", "-n", "24", *DEVICE)),
    "generate of two": Command(("generate", MODEL, *MIXED, "-p", "Once", "-n", "8", *DEVICE)),
    "perplexity": Command(
        ("perplexity", MODEL, "-f", TEXT, "--ctx", "64", "--chunks", "2", *DEVICE)
    ),
    "choose": Command(("choose", MODEL, "--tasks", TASKS, *DEVICE)),
    "leaderboard": Command(
        (
            *("leaderboard", MODEL, "--model", f"{NAME}=0..2,1..4", "--data", DATA),
            *("--tasks", "musr", "--limit", "1", "--store", f"3{STORE}", "--details", *DEVICE),
        )
    ),
    "no such benchmark": Command(("leaderboard", MODEL, "--tasks", EVIL), 2, False),
    "no such mirror": Command(
        ("leaderboard", MODEL, "--tasks", "musr", "--data", MIRROR), 2, False
    ),
    "chat": Command(("chat", MODEL, "--ctx", "512", *DEVICE), 0, False, f"{EVIL}\nHello\n"),
    "scan": Command(
        ("scan", MODEL, "--choices", TASKS, "--layers", "0..2", "--store", f"2{STORE}")
    ),
    "search": Command(("search", MODEL, "--choices", TASKS, "--store", STORE, "--max-paths", "6")),
    "report": Command(("report", STORE, "--html", HTML, "--csv", CSV, "--replace")),
    "anatomy": Command(
        (
            "anatomy",
            MODEL,
            "--contents",
            "4",
            "--store",
            STORE,
            "--html",
            HTML,
            "--replace",
            *DEVICE,
        )
    ),
    "no such probe": Command(("report", STORE, "--probe", "none"), 2, False),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hostile")
    stories = ROOT / "fixtures/stories260K.gguf"
    (made / MODEL).write_bytes(hostile_model(stories))
    (made / TEXT).write_bytes(shakespeare())
    (made / YAML).write_text("layers: 0..2,1..4\n")
    name = json.dumps(EVIL.replace("+", ""))  # with it, a name is one of an adapter too
    (made / EVIL_YAML).write_text(
        f"merge_method: passthrough\nslices:\n- sources: [{{model: {name}, "
        f"layer_range: [0, 2]}}]\ntokenizer_source: {json.dumps(MARKUP)}\n"
    )
    other = EVIL.replace(INJECTED, f"{INJECTED} other")
    base = pair("general.base_model.0.name", STRING, other)
    (made / LORA).write_bytes(lora(made / MODEL, base))
    assert run("patch", MODEL, PATCHED, *WINDOW, folder=made).returncode == 0
    return made


@pytest.fixture(scope="module")
def engine_folder(folder: Path) -> Path:
    """With what llama.cpp's bindings take: UTF-8 in the file, and tasks."""
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    stories = ROOT / "fixtures/stories260K.gguf"
    (folder / MODEL).write_bytes(hostile_model(stories, EVIL.encode()))
    assert run("patch", MODEL, PATCHED, "--replace", *WINDOW, folder=folder).returncode == 0
    task = {"question": EVIL, "choices": [f"{EVIL}a", "b"], "answer": 0}
    tasks = [json.dumps({"id": f"={EVIL}{n}", **task}) for n in range(10)]
    (folder / TASKS).write_text("\n".join(tasks), encoding="ascii")
    splits = {("default", name): rows for name, rows in musr().items()}
    write_benchmark(folder / DATA / "musr", splits)
    scan = ("scan", MODEL, "--choices", TASKS, "--layers", "0..2", "--store", STORE)
    done = run(*scan, folder=folder)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return folder


def check(command: Command, folder: Path) -> None:
    done = run(*command.arguments, folder=folder, typed=command.typed)
    assert done.returncode == command.code, done.stderr.decode(errors="replace")
    if command.arguments[0] in ("generate", "chat"):  # generated text has lines and tabs
        done.stdout = done.stdout.replace(b"\n", b"").replace(b"\t", b"")
    assert_harmless(done.stdout)
    assert_harmless(done.stderr)
    assert b"Traceback" not in done.stderr
    assert len(done.stdout) + len(done.stderr) < MOST_N_BYTES
    if command.has_json:
        done = run(*command.arguments, "--json", folder=folder)
        assert done.returncode == command.code, done.stderr.decode(errors="replace")
        assert_harmless(done.stdout)
        assert done.stdout.isascii()
        lines = done.stdout.splitlines() if command.arguments[0] == "scan" else [done.stdout]
        assert all(isinstance(json.loads(line), dict) for line in lines)


@pytest.mark.parametrize("name", HEADER_COMMANDS)
def test_each_command(folder: Path, name: str) -> None:
    check(HEADER_COMMANDS[name], folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINE_COMMANDS)
def test_each_command_that_runs_a_model(engine_folder: Path, name: str) -> None:
    check(ENGINE_COMMANDS[name], engine_folder)


@pytest.mark.slow
def test_what_a_server_prints(engine_folder: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the serve extra")
    command = [sys.executable, "-m", "ggufsurgeon", "serve", MODEL, "--port", "0", *DEVICE]
    with subprocess.Popen(
        [*command, "--model", f"{NAME}=0..2,1..4"],
        cwd=engine_folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        told = b""
        while (found := re.search(rb"at (http://\S+/v1);", told)) is None:
            told += process.stderr.readline()
            assert process.poll() is None, told
        body = json.dumps({"messages": [{"role": EVIL, "content": EVIL}]}).encode()
        request = Request(f"{found[1].decode()}/chat/completions", body, JSON_TYPE)
        with pytest.raises(HTTPError) as refused, urlopen(request, timeout=60):
            pass
        answer = refused.value.read()
        process.terminate()
        told += process.stderr.read()
        assert process.stdout.read() == b""
    assert_harmless(told)
    assert "refuses the conversation" in json.loads(answer)["error"]["message"]


@pytest.mark.slow
def test_no_spreadsheet_computes_a_name(engine_folder: Path) -> None:
    files = ("--csv", f"2{CSV}", "--jsonl", f"2{TASKS}")
    assert run("report", STORE, *files, folder=engine_folder).returncode == 0
    with (engine_folder / f"2{CSV}").open(newline="", encoding="utf-8") as file:
        labels = {row["label"] for row in csv.DictReader(file)}
    assert labels == {f"'={EVIL}{n}" for n in range(10)}
    lines = (engine_folder / f"2{TASKS}").read_text(encoding="ascii").splitlines()
    assert {json.loads(line)["label"] for line in lines} == {f"={EVIL}{n}" for n in range(10)}


@pytest.mark.parametrize("name", ["inspect", "plan"])
def test_a_terminal_gets_no_codes_but_colours(folder: Path, name: str) -> None:
    output = on_a_terminal(*HEADER_COMMANDS[name].arguments, folder=folder)
    assert COLOURS.search(output), "the program's own"
    plain = COLOURS.sub("", output)
    assert_harmless(plain.encode())
    assert MARKUP in plain, "shown, and not obeyed"


def on_a_terminal(*arguments: str, folder: Path) -> str:
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "ggufsurgeon", *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=theirs, env=ENVIRONMENT) as process:
        os.close(theirs)
        output = b"".join(read_all(mine))
    os.close(mine)
    assert process.returncode == 0
    return output.decode().replace("\r\n", "\n")


def read_all(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(descriptor, 1 << 16)
        except OSError:  # the other side is closed
            return


characters = st.characters(exclude_characters="\t")
strings = st.lists(st.sampled_from(CODES) | st.text(characters), max_size=5).map("".join)


@given(strings, strings, strings)
def test_all_that_is_printed_is_harmless(one: str, two: str, three: str) -> None:
    output, errors = StringIO(), StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        terminal.print_text(f"name: {one}")
        terminal.print_table(f"title {one}", ["", "value"], [(one, two), (two, three)])
        terminal.print_note(f"note: {two}")
        terminal.print_warning(three)
        terminal.print_error(f"{one}: {two}", "Nothing was written.", "")
        terminal.print_json({one: two, "list": [three]})
        terminal.print_piece("text: " + three.replace("\n", "") + "\n")
    for found in (output, errors):
        assert_harmless(found.getvalue().encode("utf-8"))


def test_a_line_has_an_end() -> None:
    errors = StringIO()
    with redirect_stderr(errors):
        terminal.print_error("x" * 10**7, "", "y" * 10**7)
    assert len(errors.getvalue()) < 3 * terminal.LONGEST_LINE
