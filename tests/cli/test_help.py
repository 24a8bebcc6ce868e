"""What the program says of itself."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from typer.main import get_command

from ggufsurgeon import errors
from ggufsurgeon.cli.app import app
from ggufsurgeon.errors import GgufSurgeonError
from tests.conftest import Run

PROGRAM: Any = get_command(app)
COMMANDS: dict[str, Any] = PROGRAM.commands


def assert_mentions(text: str, command: Any) -> None:
    """All that the parser takes is in the help."""
    for parameter in command.params:
        for option in parameter.opts:
            assert option.lower() in text.lower(), option
        if parameter.opts[0].startswith("-"):
            assert parameter.help, parameter.name


def test_the_program(surgeon: Run) -> None:
    done = surgeon("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert_mentions(done.stdout, PROGRAM)
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, GgufSurgeonError)}
    assert codes == {1, 2, 3, 4, 5, 7, 8}
    told = done.stdout[done.stdout.index("Exit codes:") :].replace("\n ", "")
    for code in codes:
        assert f" {code} " in told


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command(surgeon: Run, name: str) -> None:
    done = surgeon(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert_mentions(done.stdout, COMMANDS[name])


def test_there_are_the_commands_that_are_promised() -> None:
    assert set(COMMANDS) == {
        "inspect",
        "plan",
        "patch",
        "verify",
        "perplexity",
        "generate",
        "choose",
    }
    assert {"--window", "--times", "--drop", "--layers", "--json", "--replace"} <= {
        option for parameter in COMMANDS["patch"].params for option in parameter.opts
    }


def test_the_version(surgeon: Run) -> None:
    done = surgeon("--version")
    expected = (0, f"ggufsurgeon {version('ggufsurgeon')}\n", "")
    assert (done.returncode, done.stdout, done.stderr) == expected


def test_nothing_asked_is_a_usage_error_with_help(surgeon: Run) -> None:
    done = surgeon()
    assert done.returncode == 2
    assert "Usage: ggufsurgeon" in done.stdout + done.stderr
