"""The lines that run a file do what they say: in a shell with programs that note their arguments,
and in Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.publishing.ways_to_run import WayToRun, ways_to_run
from tests.conftest import ROOT
from tests.models.builders import STRING, llama_model, pair
from tests.models.expanding import expand
from tests.publishing.ollama import parse_modelfile

PROGRAMS = ("llama-server", "llama-completion", "llama-embedding", "ollama", "lms")
NAMES = (
    *("rys.gguf", "-x.gguf", "a b;touch INJECTED.gguf", "$(touch INJECTED).gguf", "`x`'\".gguf"),
    *("new\nline.gguf", os.fsdecode(b"\xff\x1b[31m.gguf"), "%s\\n.gguf", "FROM.gguf"),
)
NOTE = '#!/bin/sh\nfor word in "$(basename "$0")" "$@"; do printf "%s\\0" "$word" >>noted; done\n'


def run_in_shell(way: WayToRun, folder: Path) -> list[str]:
    """The arguments that the programs got, one after another."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name in PROGRAMS:
        (programs / name).write_text(NOTE)
        (programs / name).chmod(0o755)
    script = os.fsencode("\n".join(way.lines))
    path = f"{programs}:{os.environ['PATH']}"
    subprocess.run(["bash", "-e"], input=script, cwd=folder, env={"PATH": path}, check=True)
    noted = folder / "noted"
    words = os.fsdecode(noted.read_bytes()).split("\0")[:-1]
    noted.unlink()
    return words


def lines_of(folder: Path, name: str) -> Iterator[WayToRun]:
    shutil.copy(ROOT / "fixtures/stories260K.gguf", folder / name)
    return iter(ways_to_run(open_gguf(folder / name)))


@pytest.mark.parametrize("name", NAMES)
def test_programs_get_the_file_and_nothing_else_runs(name: str, tmp_path: Path) -> None:
    ways = {way.program: way for way in lines_of(tmp_path, name)}
    argument = f"./{name}" if name.startswith("-") else name
    words = run_in_shell(ways["llama.cpp"], tmp_path)
    assert words[:3] == ["llama-server", "-m", argument]
    assert run_in_shell(ways["LM Studio"], tmp_path) == ["lms", "import", "-c", argument]
    assert ("Ollama" in ways) == name.isprintable()
    if "Ollama" in ways:
        made = run_in_shell(ways["Ollama"], tmp_path)
        assert (made[:2], made[3:5]) == (["ollama", "create"], ["-f", "Modelfile"])
        text = (tmp_path / "Modelfile").read_text("utf-8")
        assert parse_modelfile(text) == [("from", f"./{name}")]
    assert not list(tmp_path.rglob("INJECTED"))
    assert all("\n" not in line for way in ways.values() for line in way.lines)


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_for_python_name_the_file(name: str, tmp_path: Path) -> None:
    (way,) = (way for way in lines_of(tmp_path, name) if way.language == "python")
    (line,) = (line for line in way.lines if line.startswith("llama = "))
    given: list[str] = []
    exec(line, {"Llama": lambda path, **_: given.append(path)})
    assert (tmp_path / given[0]).exists()


@pytest.mark.slow
def test_the_lines_for_python_generate_text(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    (way,) = (way for way in lines_of(tmp_path, "rys.gguf") if way.language == "python")
    script = "\n".join(way.lines)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 5


def test_a_chat_and_an_encoder_have_lines_of_their_own(tmp_path: Path) -> None:
    template = pair("tokenizer.chat_template", STRING, "{{ messages }}")
    (tmp_path / "chat.gguf").write_bytes(llama_model(3, template))
    lines = [line for way in ways_to_run(open_gguf(tmp_path / "chat.gguf")) for line in way.lines]
    assert "answer = llama.create_chat_completion(messages)" in lines
    assert not any("llama-completion" in line for line in lines)
    expand(ROOT / "fixtures/arch_headers/bert-dense.gguf", tmp_path / "bert.gguf", 0)
    lines = [line for way in ways_to_run(open_gguf(tmp_path / "bert.gguf")) for line in way.lines]
    assert 'print(llama.embed("Once upon a time"))' in lines
    assert any(line.startswith("llama-embedding ") for line in lines)
