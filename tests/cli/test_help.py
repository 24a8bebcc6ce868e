"""What the program says of itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ggufsurgeon import errors
from ggufsurgeon.cli.app import COMMANDS as MODULES
from ggufsurgeon.cli.app import make_app
from ggufsurgeon.errors import GgufSurgeonError
from tests.conftest import Run

PROGRAM: Any = get_command(make_app())
COMMANDS: dict[str, Any] = PROGRAM.commands


def assert_mentions(text: str, command: Any) -> None:
    """All that the parser takes is in the help."""
    for parameter in command.params:
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
        for option in names:
            assert option.lower() in text.lower(), option
        if parameter.opts[0].startswith("-"):
            assert parameter.help, parameter.name


def test_the_program(surgeon: Run) -> None:
    done = surgeon("--help", env=os.environ | {"COLUMNS": "140"})
    assert (done.returncode, done.stderr) == (0, "")
    assert_mentions(done.stdout, PROGRAM)
    for name in COMMANDS:
        assert f"│ {name} " in done.stdout
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, GgufSurgeonError)}
    assert codes == {1, 2, 3, 4, 5, 6, 7, 8, 9}
    told = done.stdout[done.stdout.index("Exit codes:") :].replace("\n", "").replace("  ", " ")
    for code in codes:
        assert f" {code} " in told


def imported_by(*arguments: str | Path) -> set[str]:
    """The modules that a process of the program has imported when it ends."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from ggufsurgeon.__main__ import main\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_imports_neither_numpy_nor_what_models_need() -> None:
    """They take longer to import than the help takes to print."""
    imported = imported_by("--help")
    assert "ggufsurgeon.cli.scanning.scan" in imported
    assert not imported & {"numpy", "sqlite3", "ctypes", "llama_cpp", "matplotlib", "http.client"}
    parts = {name.split(".")[1] for name in imported if name.startswith("ggufsurgeon.")}
    assert not parts & {"architectures", "engine", "planning", "reporting", "writing"}


def test_a_command_that_reads_a_header_imports_no_other_command_nor_numpy(stories: Path) -> None:
    imported = imported_by("inspect", stories)
    assert "ggufsurgeon.planning.planner" in imported
    assert not imported & {"numpy", "gguf", "sqlite3", "llama_cpp"}
    assert imported & {f"ggufsurgeon.cli.{name}" for name in MODULES} == {
        "ggufsurgeon.cli.inspecting.inspect"
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command(surgeon: Run, name: str) -> None:
    wide = os.environ | {"COLUMNS": "140"}
    done = surgeon(name, "--help", env=wide)
    assert (done.returncode, done.stderr) == (0, "")
    assert surgeon(name, "-h", env=wide).stdout == done.stdout
    assert_mentions(done.stdout, COMMANDS[name])


FIRST_WORDS = {
    *(
        "API",
        "Add",
        "Also",
        "Draw",
        "Drop",
        "Edit",
        "Keep",
        "Evaluate",
        "Folder",
        "Make",
        "Measure",
        "Multiply",
        "Overwrite",
        "Print",
        "Prove",
    ),
    *("Repeat", "Route", "Run", "Sample", "Save", "Show"),
    *("Base", "Checkpoint", "Context", "File", "Format", "GGUF", "Layer", "Logits", "Maximum"),
    *(
        "Address",
        "Model",
        "Chat",
        "Key",
        "Memory",
        "Name",
        "Names",
        "Nucleus",
        "Number",
        "Port",
        "Patched",
        "Prompt",
        "RPC",
        "Random",
        "Sampling",
        "Shares",
        "Tag",
        "Variables",
    ),
    *("CSV", "HTML", "JSON", "JSONL", "PNG", "Probe", "Rank", "Share", "Store", "Windows"),
    *("SQLite", "Strengths", "Strided", "System", "Tensors", "Text", "Total"),
}
"""Verbs, and nouns with what stands in front of them."""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_a_noun_or_a_verb_and_is_a_sentence(name: str) -> None:
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name}: {parameter.name} has no help"
        first = re.split(r"\W", parameter.help)[0]
        assert first in FIRST_WORDS, f"{name}: {parameter.name}: {parameter.help}"
        assert parameter.help.rstrip().endswith("."), f"{name}: {parameter.name}"


def test_options_have_the_names_that_llama_cpp_gives_them() -> None:
    """common/arg.cpp of llama.cpp."""
    expected = {
        "perplexity": {"-f", "--file", "-c", "--ctx-size", "-b", "--batch-size", "--ppl-stride"},
        "generate": {"-p", "-n", "--predict", "--n-predict", "--temp", "-s"},
        "verify": {"-c", "-t", "-ts", "-ngl", "--gpu-layers", "--rpc", "-dev", "--device"},
        "leaderboard": {"-c", "--ctx-size", "-np", "--parallel", "--chat-template-kwargs"},
        "serve": {"-ot", "--override-tensor", "-ncmoe", "--n-cpu-moe", "-cmoe", "--cpu-moe"},
    }
    for name, options in expected.items():
        taken = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert options <= taken


def test_short_options_of_several_letters_are_options(surgeon: Run, stories: Path) -> None:
    plain = surgeon("plan", stories, "--window", "1:3", "--json", "--tensor-split", "3,1")
    short = surgeon("plan", stories, "--window", "1:3", "--json", "-ts", "3,1")
    assert short.returncode == 0 and short.stdout == plain.stdout
    none = surgeon("plan", stories, "--window", "1:3", "--json", "-ts", "3,1", "-ngl", "0")
    assert none.returncode == 0 and none.stdout != plain.stdout


def test_there_are_the_commands_that_are_promised() -> None:
    assert set(COMMANDS) == {
        "inspect",
        "plan",
        "patch",
        "verify",
        "restore",
        "recover",
        "recipe",
        "diff",
        "patch-companion",
        "card",
        "selftest",
        "chat",
        "serve",
        "perplexity",
        "generate",
        "choose",
        "leaderboard",
        "scan",
        "search",
        "report",
        "anatomy",
    }
    assert {"--window", "--times", "--drop", "--layers", "--json", "--replace", "--in-place"} <= {
        option for parameter in COMMANDS["patch"].params for option in parameter.opts
    }


def test_the_version(surgeon: Run) -> None:
    done = surgeon("--version")
    engine = re.escape(f"llama-cpp-python {version('llama-cpp-python')}")
    own = re.escape(f"ggufsurgeon {version('ggufsurgeon')}")
    assert re.fullmatch(rf"{own} \({engine}, ggml \d+\.\d+\.\d+ \(\S+\)\)\n", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_asked_is_a_usage_error_with_help(surgeon: Run) -> None:
    done = surgeon()
    assert done.returncode == 2
    assert "Usage: ggufsurgeon" in done.stdout + done.stderr
