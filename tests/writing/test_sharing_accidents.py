"""Law 5 where blocks are shared, at each system call: files, shards, and restored files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.models.builders import U32, Tensor, gguf, llama_pairs, pair
from tests.writing.mounting import mounted_image
from tests.writing.plans import listing
from tests.writing.strikes import ForkedProgram, forked_program
from tests.writing.test_accidents import (
    NEW,
    WINDOW,
    WRITES,
    Scene,
    Write,
    check_failure,
    is_allowed,
    named,
)
from tests.writing.test_sharing import BLOCK, FILE_SYSTEMS

pytestmark = pytest.mark.slow

VARYING = ("openat", "ioctl")
"""Files of /proc are opened too, as many as there are processes at that time."""


@pytest.fixture(scope="module", params=FILE_SYSTEMS)
def disk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A file system that shares blocks."""
    folder = tmp_path_factory.mktemp("sharing") / "disk"
    with mounted_image(folder, FILE_SYSTEMS[request.param], f"mkfs.{request.param}", "-q"):
        yield folder


@pytest.fixture
def folder(disk: Path) -> Path:
    """An empty folder there."""
    folder = disk / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedProgram]:
    with forked_program(tmp_path_factory.mktemp("log")) as program:
        yield program


@pytest.mark.parametrize("write", ["new", "restore", "shards", "shards-named", "replace"])
def test_killed_at_every_call(folder: Path, program: ForkedProgram, write: str) -> None:
    """What is left of files with temporary names is gone after the next run."""
    scene = sharing_scene(folder, program, WRITES[write])
    for call in scene.calls:
        run, found = scene.run(call.killed())
        assert run.code == -SIGKILL, call
        assert is_allowed(named(found), scene), (call, sorted(found))
        if found != named(found):
            assert scene.run_next() == named(found), call
    assert len(scene.calls) >= 9, scene.calls


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_shards_of_which_a_call_fails(folder: Path, program: ForkedProgram, error: str) -> None:
    """A clone that fails is a copy; any other failure leaves no shard."""
    scene = sharing_scene(folder, program, WRITES["shards"])
    for call in scene.calls:
        check_failure(scene, call, call.failing(error))
        if call.name != "write":  # which tells of the error too
            check_failure(scene, call, call.failing(error, for_good=True))


def test_a_model_that_is_patched_in_place(folder: Path, program: ForkedProgram) -> None:
    """A new file that shares blocks takes its place; what is left is gone after the next run."""
    name, old = "model.gguf", aligned_model(5, 40 * BLOCK)
    arguments = ("patch", name, "--in-place", *WINDOW)
    (folder / name).write_bytes(old)
    calm = program.run(folder, *arguments)
    assert "FICLONE" in str(calm.changing), calm.stderr
    new, outcomes = (folder / name).read_bytes(), set()
    for call in calm.changing:
        (folder / name).write_bytes(old)
        run = program.run(folder, *arguments, inject=call.killed())
        assert run.code == -SIGKILL or (run.code == 0 and call.name in VARYING), call
        outcomes.add((folder / name).read_bytes())
        assert named(listing(folder)).keys() == {name}
        assert program.run(folder, "recover", name, trace=()).code == 0
        assert listing(folder).keys() == {name}
    assert outcomes == {old, new}


def sharing_scene(folder: Path, program: ForkedProgram, write: Write) -> Scene:
    """A command whose every file shares blocks with what it reads."""
    sources, runs = folder / "sources", folder / "runs"
    for each in (sources, runs):
        each.mkdir()
    (sources / "model.gguf").write_bytes(aligned_model(5, 40 * BLOCK))
    program.warm(sources, *[word.replace("SOURCES", str(sources)) for word in NEW.arguments])
    (sources / "new.gguf").rename(sources / "patched.gguf")
    scene = Scene(program, sources, runs, write)
    clones = [call for call in scene.calls if call.name == "ioctl"]
    assert len(clones) >= len(scene.after), "a file shares nothing"
    assert all(call.text.endswith("= 0") for call in clones)
    return scene


def aligned_model(n_blocks: int, block_n_bytes: int) -> bytes:
    """A model whose tensors are aligned to blocks of the disk, in shards too."""
    pairs = llama_pairs(n_blocks, pair("general.alignment", U32, BLOCK))
    tensors = [
        Tensor(f"blk.{block}.ffn.weight", (block_n_bytes // 4,), os.urandom(block_n_bytes))
        for block in range(n_blocks)
    ]
    return gguf(pairs, tensors, alignment=BLOCK)
