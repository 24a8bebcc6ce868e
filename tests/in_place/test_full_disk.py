"""A small disk that another program fills at one moment or other of an edit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import WriteFailedError
from tests.in_place.disks import disk, model_of
from tests.in_place.test_killed import JOURNAL, NAME, OLD, PATCH, RECOVER
from tests.writing.plans import listing
from tests.writing.strikes import ForkedProgram, forked_program
from tests.writing.test_full_disk import fill, n_free

pytestmark = pytest.mark.slow


@pytest.fixture(params=["ext4", "xfs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with disk(request.param, tmp_path / "disk") as mounted:
        inner = mounted / "models"
        inner.mkdir()
        yield inner


@pytest.fixture
def program(tmp_path: Path) -> Iterator[ForkedProgram]:
    with forked_program(tmp_path) as program:
        yield program


def start(folder: Path) -> None:
    for path in (*folder.iterdir(), *folder.parent.glob("filler")):
        path.unlink()
    (folder / NAME).write_bytes(OLD)


def await_room(folder: Path, n_bytes: int) -> None:
    """Until room is there that an edit had reserved: XFS frees blocks in the background."""
    deadline = time.monotonic() + 20
    while n_free(folder) < n_bytes:
        assert time.monotonic() < deadline, n_free(folder)
        time.sleep(0.02)


def test_filled_at_each_call(folder: Path, program: ForkedProgram) -> None:
    start(folder)
    program.warm(folder, *PATCH)
    program.warm(folder, *RECOVER)
    new = (folder / NAME).read_bytes()
    start(folder)
    calls = program.run(folder, *PATCH).changing
    codes = set()
    for call in calls:
        start(folder)
        before = n_free(folder)
        run = program.run(
            folder, *PATCH, inject=call.stopped(), meanwhile=lambda: fill(folder.parent / "filler")
        )
        codes.add(run.code)
        if (folder / JOURNAL).exists():
            assert run.stderr.rstrip().endswith("ggufsurgeon recover model.gguf"), call
            assert program.run(folder, *RECOVER, trace=()).code == 0, call
        elif run.code:
            assert "The destination is as it was." in run.stderr, (call, run.stderr)
            assert (folder / NAME).read_bytes() == OLD, call
        assert listing(folder) in ({NAME: OLD}, {NAME: new}), call
        (folder.parent / "filler").unlink()
        if run.code:
            await_room(folder, before - (1 << 16))
    assert codes == {0, 5}


def test_too_full_from_the_start(tmp_path: Path) -> None:
    """Found before the first byte."""
    with disk("ext4", tmp_path / "disk") as folder:
        model = folder / NAME
        model.write_bytes(model_of(4))
        fill(folder / "filler")
        before = listing(folder).keys()
        with pytest.raises(WriteFailedError, match=r"needs [\d,]+ bytes, .* has 0 free"):
            gs.open(model).plan(gs.repeat("1:3")).write_in_place()
        assert listing(folder).keys() == before
        assert model.read_bytes() == model_of(4)
