"""Read errors of sources give an error with path and offset, and leave no file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import UsageError, WriteFailedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS
from ggufsurgeon.write_plan import WritePlan
from ggufsurgeon.writing.digests import sha256_of_plan
from ggufsurgeon.writing.new_file import write_new_file
from tests.calls import patch, plan
from tests.conftest import ROOT
from tests.writing.mounting import mounted_image
from tests.writing.plans import listing, sparse_model
from tests.writing.strikes import ForkedProgram, forked_program

SOURCE = ROOT / "fixtures/stories260K.gguf"
READS = ("pread64", "read", "sendfile", "copy_file_range")
PATCHED = "patched.gguf"
PATH = LayerPath.of([0, 0, 1])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedProgram]:
    folder = tmp_path_factory.mktemp("program")
    with forked_program(folder) as program:
        program.warm(folder, "patch", SOURCE, "patched.gguf", "--window", "1:2")
        yield program


@pytest.mark.parametrize("options", [(), ("--split-max-size", "1M")], ids=["file", "shards"])
def test_each_read_of_the_source(
    program: ForkedProgram, tmp_path: Path, options: Sequence[str]
) -> None:
    arguments = ["patch", str(SOURCE), "new.gguf", "--window", "0:5", *options]
    (tmp_path / "calm").mkdir()
    calm = program.run(tmp_path / "calm", *arguments, trace=READS)
    reads = [call for call in calm.calls if SOURCE.name in call.text]
    assert {call.name for call in reads} == {"pread64", "sendfile"}
    n_preads = sum(call.name == "pread64" for call in calm.calls)
    for number, call in enumerate(reads):
        folder = tmp_path / str(number)
        folder.mkdir()
        # Where sendfile fails the bytes are read instead, which fails too on a disk that does.
        others = [f"pread64:error=EIO:when={n_preads}+"] * (call.name == "sendfile")
        inject = [call.failing("EIO", for_good=bool(others)), *others]
        run = program.run(folder, *arguments, trace=READS, inject=inject)
        error, *state, hint = run.stderr.splitlines()
        assert run.code in (2, 5) and len(state) == (run.code == 5), run.stderr
        assert error.startswith(f"error: {SOURCE}: cannot be read at byte ")
        assert error.endswith(": Input/output error") and "The disk" in hint
        assert listing(folder) == {}


def test_sendfile_that_fails_alone(program: ForkedProgram, tmp_path: Path) -> None:
    """Not the disk: the bytes can be read."""
    arguments = ("patch", str(SOURCE), "new.gguf", "--window", "0:5")
    run = program.run(tmp_path, *arguments, trace=READS, inject="sendfile:error=EIO")
    assert (run.code, run.stderr, list(listing(tmp_path))) == (0, "", ["new.gguf"])


@pytest.mark.parametrize(
    "arguments",
    [("inspect", str(SOURCE), "--hash"), ("diff", str(SOURCE), "copy.gguf"), ("recipe", PATCHED)],
    ids=lambda words: words[0],
)
def test_files_that_are_read_alone(
    program: ForkedProgram, tmp_path: Path, arguments: Sequence[str]
) -> None:
    """By several threads, of which one fails at its fourth read."""
    (tmp_path / "copy.gguf").write_bytes(SOURCE.read_bytes())
    patch(SOURCE, tmp_path / PATCHED, PATH)
    run = program.run(tmp_path, *arguments, trace=READS, inject="pread64:error=EIO:when=4+")
    error, hint = run.stderr.splitlines()
    assert (run.code, run.stdout) == (2, "") and "The disk" in hint
    assert ".gguf: cannot be read at byte " in error and error.endswith(": Input/output error")


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[WritePlan]:
    """A plan over a model on a disk that is an image, whose second half is gone by now."""
    folder = tmp_path / "disk"
    with mounted_image(
        folder, 32 << 20, "mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "^has_journal"
    ):
        source = sparse_model(folder / "source.gguf", 2, 10 << 20)
        source.write_bytes(source.read_bytes())  # without holes
        planned = plan(source, PATH)
        with source.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.truncate(tmp_path / "disk.image", 16 << 20)
        yield planned.write_plan


def test_a_real_disk_that_fails(failing: WritePlan, tmp_path: Path) -> None:
    folder, source = tmp_path / "folder", Path(failing.sources[0].path)
    folder.mkdir()
    with pytest.raises(WriteFailedError) as caught:
        write_new_file(failing, folder / "new.gguf")
    offset = int(str(caught.value).split(" at byte ")[1].split(":")[0])
    assert 1 << 20 < offset < failing.sources[0].n_bytes and offset % 4096 == 0
    problem = f"{source}: cannot be read at byte {offset}: Input/output error"
    assert str(caught.value) == problem and "The disk" in caught.value.hint
    assert listing(folder) == {}
    with pytest.raises(UsageError, match=problem):
        sha256_of_plan(failing, "hashing", NO_PROGRESS)
    with pytest.raises(UsageError, match=r"cannot be read at byte \d+: Input/output error"):
        open_gguf(source)  # the end of the file is looked at
