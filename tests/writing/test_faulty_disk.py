"""A file system that fails: read errors of sources, and write errors of destinations.

Unlike errors that are injected into system calls, these pass through the cache of the system, which
reads ahead and writes in pages.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.writing.faulty_disk import FaultyDisk, faulty_disk
from tests.writing.plans import listing
from tests.writing.strikes import ForkedProgram, Run, forked_program

SOURCE = ROOT / "fixtures/stories260K.gguf"
OLD = b"old"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyDisk]:
    with faulty_disk(tmp_path_factory.mktemp("faulty") / "disk") as disk:
        yield disk


@pytest.fixture
def folder(disk: FaultyDisk) -> Path:
    """An empty folder on it."""
    disk.heal()
    folder = disk.folder / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, program: ForkedProgram) -> Path:
    """A model, and that patched, on a disk without faults."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copy(SOURCE, folder / "model.gguf")
    program.warm(folder, "patch", "model.gguf", "patched.gguf", "--window", "0:5")
    program.warm(folder, "diff", "patched.gguf", "model.gguf")
    return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedProgram]:
    with forked_program(tmp_path_factory.mktemp("log")) as program:
        yield program


READS = {
    "patch": ("model.gguf", ("patch", "BAD", "new.gguf", "--window", "0:5")),
    "shards": ("model.gguf", ("patch", "BAD", "new", "--window", "0:5", "--split-max-size", "1M")),
    "verify": ("patched.gguf", ("verify", "BAD", "--source", "GOOD/model.gguf")),
    "verify-source": ("model.gguf", ("verify", "GOOD/patched.gguf", "--source", "BAD")),
    "diff": ("model.gguf", ("diff", "GOOD/patched.gguf", "BAD")),
    "restore": ("patched.gguf", ("restore", "BAD", "new.gguf")),
    "recipe": ("patched.gguf", ("recipe", "BAD")),
    "inspect": ("model.gguf", ("inspect", "BAD", "--hash")),
}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(name, marks=pytest.mark.slow if name.startswith("verify") else ())
        for name in READS
    ],
)
def test_a_read_error_names_file_and_place(
    disk: FaultyDisk,
    folder: Path,
    files: Path,
    tmp_path: Path,
    program: ForkedProgram,
    command: str,
) -> None:
    """In the header, at the start, in the middle and at the end of the data."""
    name, words = READS[command]
    bad = Path(shutil.copy(files / name, folder / "bad.gguf"))
    arguments = [word.replace("BAD", str(bad)).replace("GOOD", str(files)) for word in words]
    n_bytes = bad.stat().st_size
    for at in (0, 9000, 30_000, n_bytes // 2, n_bytes - 1):
        disk.fail("read", name=bad.name, at=at)
        run = program.run(tmp_path, *arguments, trace=())
        found = re.match(
            rf"error: {bad}: cannot be read at byte (\d+): Input/output error\n", run.stderr
        )
        assert found, (at, run.stderr, run.stdout)
        assert run.code in (2, 5) and "The disk may be failing" in run.stderr
        assert int(found[1]) <= at < int(found[1]) + (1 << 20)
        assert listing(tmp_path) == {}
        disk.heal()
        assert bad.read_bytes() == (files / name).read_bytes()
    run = program.run(tmp_path, *arguments, trace=())
    assert run.code in (0, 7, 8), run.stderr  # 8 without llama.cpp, which verify runs models with


WRITES: dict[str, tuple[str, tuple[str, ...]]] = {
    "new": ("model.gguf", ("patch", "GOOD", "new.gguf", "--window", "0:5")),
    "replace": ("model.gguf", ("patch", "GOOD", "new.gguf", "--window", "0:5", "--replace")),
    "shards": (
        "model.gguf",
        ("patch", "GOOD", "new.gguf", "--window", "0:5", "--split-max-size", "1M"),
    ),
    "restore": ("patched.gguf", ("restore", "GOOD", "new.gguf")),
}
FAULTS: list[dict[str, Any]] = [
    *({"op": "write", "at": at} for at in (0, 5000, 200_000, 700_000)),
    *({"op": op} for op in ("create", "fsync", "link", "rename", "fsyncdir", "statfs", "getattr")),
]
DISPENSABLE = ("link", "rename", "fsyncdir", "statfs", "getattr")
"""Operations without which a file may be complete."""


@pytest.mark.parametrize("command", WRITES)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_write_error_leaves_no_part(
    disk: FaultyDisk, folder: Path, files: Path, program: ForkedProgram, command: str, error: int
) -> None:
    """The destination is as it was, or complete; no temporary file stays."""
    name, words = WRITES[command]
    arguments = [word.replace("GOOD", str(files / name)) for word in words]
    before: dict[str, object] = {"new.gguf": OLD} if command == "replace" else {}
    start(folder, before)
    assert program.run(folder, *arguments, trace=()).code == 0
    after = listing(folder)
    for fault in FAULTS:
        start(folder, before)
        disk.fail(error=error, **fault)
        run = program.run(folder, *arguments, trace=())
        disk.heal()
        check_write(run, listing(folder), before, after, os.strerror(error))
        assert run.code == 5 or fault["op"] in DISPENSABLE, fault


def start(folder: Path, before: dict[str, object]) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, content in before.items():
        assert isinstance(content, bytes)
        (folder / name).write_bytes(content)


def check_write(
    run: Run, found: dict[str, object], before: object, after: object, problem: str
) -> None:
    if run.code == 0:
        assert found == after
        return
    assert (run.code, found) == (5, before), run.stderr
    first, state, *_ = run.stderr.splitlines()
    assert first.startswith("error: ") and first.endswith(problem), run.stderr
    assert state == "  The destination is as it was."


def test_a_file_is_edited_in_place_by_a_new_one(
    disk: FaultyDisk, folder: Path, files: Path, program: ForkedProgram
) -> None:
    """No bytes are inserted there; a write error leaves the old file."""
    model = Path(shutil.copy(files / "model.gguf", folder / "model.gguf"))
    arguments = ("patch", "model.gguf", "--in-place", "--window", "0:5")
    disk.fail("write", errno.ENOSPC, at=700_000)
    run = program.run(folder, *arguments, trace=())
    disk.heal()
    assert run.code == 5 and "No space left on device" in run.stderr
    assert listing(folder) == {model.name: SOURCE.read_bytes()}
    assert program.run(folder, *arguments, trace=()).code == 0
    assert listing(folder) == {model.name: (files / "patched.gguf").read_bytes()}
