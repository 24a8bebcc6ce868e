"""Parts of files and unfinished downloads, known by their names; the command that is told works."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.other_files.file_names import hint_of_name
from ggufsurgeon.errors import MalformedFileError
from tests.models.builders import llama_model

Write = Callable[..., Path]
MODEL = llama_model(5)


def cut(write: Write, names: list[str]) -> list[Path]:
    """The model, cut into as many parts."""
    size = -(-len(MODEL) // len(names))
    return [write(MODEL[n * size : (n + 1) * size], name) for n, name in enumerate(names)]


@pytest.mark.parametrize(
    "names",
    [
        [f"my model.gguf.part{n}of2" for n in (1, 2)],
        [f"m.gguf.part{n}of11" for n in range(1, 12)],
        [f"m.gguf-split-{letter}" for letter in "abc"],
        [f"m.gguf.part-{letters}" for letters in ("aa", "ab")],
        [f"m.gguf-part-{number:02}" for number in range(12)],
        [f"m.gguf.{number:03}" for number in (1, 2)],
    ],
)
def test_the_command_that_is_told_joins_the_parts(write: Write, names: list[str]) -> None:
    parts = cut(write, names)
    for part in parts:
        with pytest.raises(MalformedFileError) as caught:
            open_gguf(part)
        assert "llama-gguf-split, never by cat" in caught.value.hint
    command = re.search(r"(cat .* > .*) \(", caught.value.hint)
    assert command is not None
    subprocess.run(["bash", "-c", command[1]], check=True)
    (whole,) = set(parts[0].parent.iterdir()) - set(parts)
    assert whole.read_bytes() == MODEL


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("m.gguf.part2of3", "This is part 2 of 3 of a file that was cut"),
        ("m.gguf.incomplete", "The ending .incomplete is that of an unfinished download"),
        ("m.gguf.aria2", "unfinished download"),
        ("m.gguf.part9of3", ""),
        ("m-00001-of-00005.gguf", ""),
        ("m.gguf", ""),
        ("part1of2", ""),
        ("m.gguf.part1", ""),  # of how many?
    ],
)
def test_what_names_tell(name: str, says: str) -> None:
    hint = hint_of_name(Path(name))
    assert says in hint and bool(says) == bool(hint)


def test_a_whole_file_may_have_any_name(write: Write) -> None:
    assert open_gguf(write(MODEL, "m.gguf.part1of2")).layout.n_bytes == len(MODEL)
