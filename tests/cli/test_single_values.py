"""Options that name a file or a layer path are given once, and standard input is read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ggufsurgeon.cli.app import make_app
from ggufsurgeon.errors import UsageError
from tests.cli.failing import Unchanged, assert_told
from tests.conftest import Run
from tests.models.builders import llama_model

PROGRAM: Any = get_command(make_app())
SINGLE = [
    (name, option)
    for name, command in PROGRAM.commands.items()
    for option in command.params
    if option.param_type_name == "option" and not (option.multiple or option.is_flag)
]
NUMBERS = ("--ctx", "--tokens", "--top-k", "--port")
INPUTS = (
    *("--recipe", "--layers", "--times", "--strength", "--from-scan", "--mtp-from", "--source"),
    *("--text", "--store", "--base", "--base-layers", "--save-logits", "--html"),
)


def _of(options: tuple[str, ...]) -> list[Any]:
    chosen = [(name, option) for name, option in SINGLE if option.opts[0] in options]
    return [pytest.param(name, option, id=f"{name}{option.opts[0]}") for name, option in chosen]


@pytest.mark.parametrize(("name", "option"), _of(NUMBERS))
def test_the_last_of_several_numbers_counts(name: str, option: Any) -> None:
    """As in llama.cpp, so that what an alias gives can be overridden."""
    words = ["a", option.opts[0], "512", option.opts[-1], "1024"]
    params = PROGRAM.commands[name].make_context(name, words, resilient_parsing=True).params
    assert 1024 in params.values() and 512 not in params.values()


@pytest.mark.parametrize(("name", "option"), _of(INPUTS))
def test_a_second_file_or_layer_path_is_refused(name: str, option: Any) -> None:
    """By any of its names, with a value that is the same or another."""
    for second in option.opts:
        with pytest.raises(UsageError, match=r"is given 2 times, but takes one value") as refused:
            PROGRAM.commands[name].make_context(name, [option.opts[0], "1", f"{second}", "2"])
        assert str(refused.value).startswith(option.opts[0])


def test_options_of_several_values_and_of_none_may_be_repeated() -> None:
    words = ["a", "b", "--window", "1:2", "--window", "2:3", "--replace", "--replace", "--json"]
    context = PROGRAM.commands["patch"].make_context("patch", words)
    assert context.params["window"] == ["1:2", "2:3"] and context.params["replace"]


def test_a_second_recipe_is_told(surgeon: Run, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(llama_model(3))
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("layers: 0..2,1..2\n")
    with Unchanged(tmp_path):
        twice = ("--recipe", "one.yaml", "--recipe", "two.yaml")
        assert_told(surgeon("patch", "a.gguf", "new.gguf", *twice), 2, "--recipe is given 2 times")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("chat", "a.gguf", "--recipe", "-"), "the conversation and --recipe would both be read"),
        (("perplexity", "a.gguf", "--recipe", "-", "-f", "-"), "--text and --recipe would both"),
    ],
)
def test_two_readers_of_standard_input_are_refused(
    command: tuple[str, ...], says: str, surgeon: Run, tmp_path: Path
) -> None:
    (tmp_path / "a.gguf").write_bytes(llama_model(3))
    with Unchanged(tmp_path):
        told = surgeon(*command, input="layers: 0..2,1..2\n")
        assert_told(told, 2, says)
    assert "Give a file for --recipe." in told.stderr
