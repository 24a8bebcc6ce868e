"""Files with very many entries: the work of a command grows with their number, and not faster.

Calls of functions are counted, of Python's and of C's, since seconds depend on the machine.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import ggufsurgeon as gs
from ggufsurgeon.cli.app import make_app
from ggufsurgeon.cli.output.terminal import MOST_LAID_OUT
from ggufsurgeon.errors import UsageError
from tests.models.builders import (
    ARRAY,
    STRING,
    U16,
    U32,
    Tensor,
    block_tensors,
    gguf,
    llama_pairs,
    pair,
)

N = MOST_LAID_OUT + 500
"""Entries of the smaller file: a table of more rows is not laid out."""
WINDOW = ("--window", "1:2")
COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "model.gguf"),
    "inspect_metadata": ("inspect", "model.gguf", "--metadata"),
    "inspect_json": ("inspect", "model.gguf", "--json"),
    "inspect_hash": ("inspect", "model.gguf", "--hash"),
    "inspect_hash_json": ("inspect", "model.gguf", "--hash", "--json"),
    "plan": ("plan", "model.gguf", *WINDOW),
    "plan_json": ("plan", "model.gguf", *WINDOW, "--json"),
    "patch": ("patch", "model.gguf", "new.gguf", *WINDOW, "--replace"),
    "diff": ("diff", "model.gguf", "patched.gguf"),
    "diff_json": ("diff", "model.gguf", "patched.gguf", "--json"),
    "restore": ("restore", "patched.gguf", "old.gguf", "--replace"),
    "recipe": ("recipe", "patched.gguf"),
}
MOST_CALLS_EACH = 350
"""Calls for each entry. No command takes more than 252; to lay out a row of a table takes more."""


def many_keys(n: int) -> bytes:
    return gguf(llama_pairs(3, *(pair(f"k{i}", U32, i) for i in range(n))), block_tensors(3))


def many_strings(n: int) -> bytes:
    strings = (pair(f"general.k{i}", STRING, "\x1b" * 20) for i in range(n))
    return gguf(llama_pairs(3, *strings), block_tensors(3))


def many_arrays(n: int) -> bytes:
    arrays = (pair(f"general.k{i}", ARRAY, (U32, [i, i])) for i in range(n))
    return gguf(llama_pairs(3, *arrays), block_tensors(3))


def many_tensors(n: int) -> bytes:
    """Tensors of 4 bytes, with padding between them."""
    tensors = (Tensor(f"t{i}.weight", (1,), i.to_bytes(4, "little")) for i in range(n))
    return gguf(llama_pairs(3), [*block_tensors(3), *tensors])


def many_tensors_in_blocks(n: int) -> bytes:
    names = (f"blk.{i % 10}.t{i}.weight" for i in range(n))
    return gguf(llama_pairs(10), [*block_tensors(10), *map(Tensor, names)])


def many_blocks(n: int) -> bytes:
    """More blocks than llama.cpp runs, all of the same content."""
    return gguf(llama_pairs(n), [Tensor(f"blk.{i}.ffn.weight") for i in range(n)])


MAKE = (many_keys, many_arrays, many_tensors, many_tensors_in_blocks, many_blocks)


def run(*arguments: str) -> object:
    """Run a command in this process; its exit code."""
    try:
        return make_app()(arguments, standalone_mode=False)
    except SystemExit as left:
        return left.code


def n_calls(call: Callable[[], object]) -> int:
    """How many functions are called, in all threads."""
    counter = count()

    def note(_frame: Any, event: str, _argument: Any) -> None:
        if event in ("call", "c_call"):
            next(counter)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return next(counter)


def calls_of(make: Callable[[int], bytes], n: int, folder: Path) -> dict[str, int]:
    """Calls of each command on a file of `n` entries, if it does not refuse the file."""
    (folder / "model.gguf").write_bytes(make(n))
    is_patched = make is not many_blocks
    if is_patched:
        run("patch", "model.gguf", "patched.gguf", *WINDOW, "--replace")
    else:
        (folder / "patched.gguf").write_bytes(make(n - 1))
    names = COMMANDS if is_patched else ("inspect", "inspect_hash", "diff", "diff_json")
    found = {}
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        for name in names:
            found[name] = n_calls(partial(run, *COMMANDS[name]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKE, ids=lambda make: make.__name__)
def test_work_grows_with_the_number_of_entries(
    make: Callable[[int], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small, large = (calls_of(make, n, tmp_path) for n in (N, 2 * N))
    each = {name: round((large[name] - small[name]) / N) for name in small}
    assert all(n < MOST_CALLS_EACH for n in each.values()), each
    twice = {name: large[name] / small[name] for name in small}
    assert all(times < 2.2 for times in twice.values()), twice


def test_a_table_of_many_rows_has_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.gguf").write_bytes(many_strings(N))
    run("inspect", "model.gguf", "--metadata")
    lines = capfd.readouterr().out.splitlines()
    escaped = r"\x1b" * 20
    assert f"   general.k{N - 1}".ljust(30) + escaped in lines
    assert sum(line.startswith("   general.k") for line in lines) == N
    run("inspect", "model.gguf", "--json")
    as_json = json.loads(capfd.readouterr().out)
    assert as_json["metadata"][f"general.k{N - 1}"] == "\x1b" * 20


def test_one_of_very_many_shards(tmp_path: Path) -> None:
    """A single file can say that it is one of 65,535: as many files are not looked for."""
    name = "model-00001-of-65535.gguf"
    keys = [pair("split.no", U16, 0), pair("split.count", U16, 65535)]
    (tmp_path / name).write_bytes(gguf(llama_pairs(3, *keys), block_tensors(3)))

    def attempt() -> None:
        with pytest.raises(UsageError, match=r"shards 2, 3, 4, 5, 6, 7, 8, 9, \.\.\. of the 65535"):
            gs.open(tmp_path / name)

    assert n_calls(attempt) < 5000
