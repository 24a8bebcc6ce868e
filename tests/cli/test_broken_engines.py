"""Every command that runs a model, with a llama.cpp that does not load, or ends its process."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.conftest import ROOT, Run

llama_cpp = pytest.importorskip("llama_cpp", reason="needs the llama extra")

TEXT = str(ROOT / "ggufsurgeon/verification/texts/shakespeare.txt")
SHORT = ["--text", TEXT, "--ctx", "64", "--chunks", "1", "--threads", "1"]
COMMANDS: dict[str, list[str]] = {
    "--version": ["--version"],
    "generate": ["generate", "MODEL", "--prompt", "Once", "-n", "1"],
    "chat": ["chat", "MODEL"],
    "serve": ["serve", "MODEL", "--port", "0"],
    "perplexity": ["perplexity", "MODEL", *SHORT],
    "perplexity --store": ["perplexity", "MODEL", *SHORT, "--store", "scores.db"],
    "choose": ["choose", "MODEL", "--tasks", str(ROOT / "fixtures/tasks/choices.jsonl")],
    "scan": ["scan", "MODEL", "--store", "scan.db", "--arithmetic", "4"],
}
Broken = Callable[[str], dict[str, str]]


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    """The environment of a llama.cpp that is broken in one way."""

    def environment(way: str) -> dict[str, str]:
        folder = tmp_path / "broken"
        if way in ("SIGKILL", "SIGABRT", "SIGILL"):
            (folder / "llama_cpp").mkdir(parents=True)
            code = f"import os, signal; os.kill(os.getpid(), signal.{way})"
            (folder / "llama_cpp/__init__.py").touch()
            (folder / "llama_cpp/llama_cpp.py").write_text(code)
            return os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
        if way != "no folder":
            copytree(Path(llama_cpp.__file__).parent / "lib", folder)
        if way == "no libggml-base":
            for library in folder.glob("libggml-base*"):
                library.unlink()
        if way == "empty":
            for library in folder.glob("libllama*"):
                library.write_bytes(b"")
        return os.environ | {"LLAMA_CPP_LIB_PATH": str(folder)}

    return environment


def assert_told(run: Run, stories: Path, name: str, env: dict[str, str], code: int) -> str:
    """One message and the exit code; --version says it in its line. What was printed."""
    command = [str(stories) if word == "MODEL" else word for word in COMMANDS[name]]
    done = run(*command, env=env, stdin=subprocess.DEVNULL)
    assert "Traceback" not in done.stderr
    if name == "--version":
        assert done.returncode == 0
        return str(done.stdout)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("error:") == 1
    return str(done.stderr)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_library_that_is_not_there(
    name: str, surgeon: Run, stories: Path, broken: Broken
) -> None:
    told = assert_told(surgeon, stories, name, broken("no folder"), 8)
    assert "but its library cannot be loaded: there is no libllama" in told
    assert name == "--version" or "LLAMA_CPP_LIB_PATH is set to" in told


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_library_for_another_cpu(name: str, surgeon: Run, stories: Path, broken: Broken) -> None:
    """It crashes as soon as it is loaded, and must not do so in the process that tells."""
    told = assert_told(surgeon, stories, name, broken("SIGILL"), 9)
    assert "built for another CPU" in told and "SIGILL" in told


WAYS = {
    "no folder": (8, "there is no libllama"),
    "no libggml-base": (8, "libggml-base"),
    "empty": (8, "libllama"),
    "SIGKILL": (6, "was killed (SIGKILL)"),
    "SIGABRT": (9, "died in the job run_model (SIGABRT)"),
    "SIGILL": (9, "built for another CPU"),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_structure_of_a_patched_file_stays_proven(
    way: str, surgeon: Run, stories: Path, broken: Broken, tmp_path: Path
) -> None:
    patched = tmp_path / "patched.gguf"
    patch(stories, patched, LayerPath("0..2,1..4"))
    code, told = WAYS[way]
    done = surgeon("verify", patched, "--source", stories, "--json", env=broken(way))
    assert done.returncode == code, done.stderr
    assert told in done.stderr and "Traceback" not in done.stderr
    outcome = json.loads(done.stdout)
    found = {check["name"]: check["ok"] for check in outcome["checks"]}
    structure = ["source", "metadata", "tensors", "gguf-py agrees"]
    assert [found.pop(name) for name in structure] == [True] * 4
    assert found and set(found.values()) == {None}
    assert outcome["unproven"] == list(found)
    assert outcome["ok"] is None and "66 tensors (1,534,720 bytes)" in outcome["proven"]
    assert told in str(outcome["checks"])
