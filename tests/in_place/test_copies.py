"""A model that was copied together with its journal: `recover` restores a valid file there too."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggufsurgeon.container.interrupted_edits import journal_path
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.in_place.recovery import Recovery, recover
from tests.in_place.disks import IMAGES, disk, skip_unless_inserting
from tests.in_place.test_killed import JOURNAL, NAME, OLD, Scene, calls_of, recovery_calls, scene_in
from tests.in_place.test_recovery import BLOCK, N_INSERTED, Begun
from tests.writing.plans import listing
from tests.writing.strikes import ForkedProgram, forked_program

HERE = "here"
DISKS = [HERE, *(pytest.param(name, marks=pytest.mark.slow) for name in (*IMAGES, "tmpfs"))]


def copy_bytes(old: Path, new: Path) -> None:
    """As over a network: zeros where there was a hole."""
    new.write_bytes(old.read_bytes())


def copy_with_holes(old: Path, new: Path) -> None:
    """As cp does."""
    subprocess.run(["cp", "--sparse=auto", old, new], check=True)


def copy_zeros_as_holes(old: Path, new: Path) -> None:
    """As rsync --sparse does."""
    subprocess.run(["cp", "--sparse=always", old, new], check=True)


Copy = Callable[[Path, Path], None]
COPIES: tuple[Copy, ...] = (copy_bytes, copy_with_holes, copy_zeros_as_holes)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedProgram]:
    with forked_program(tmp_path_factory.mktemp("log")) as program:
        yield program


@pytest.fixture(scope="module")
def scene(program: ForkedProgram, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("models")
    skip_unless_inserting(folder)
    return scene_in(folder, program)


@pytest.fixture(params=DISKS)
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty folder, on another file system of each kind."""
    folder = tmp_path / "elsewhere"
    if request.param == HERE:
        folder.mkdir()
        yield folder
    else:
        with disk(request.param, folder) as mounted:
            (mounted / "inner").mkdir()
            yield mounted / "inner"


def copied(folder: Path, elsewhere: Path, copy: Copy) -> Path:
    """The model and its journal in another folder."""
    for old in elsewhere.iterdir():
        old.unlink()
    for path in folder.glob(f"{NAME}*"):
        copy(path, elsewhere / path.name)
    return elsewhere / NAME


def recovered_copies(folder: Path, elsewhere: Path) -> Iterator[tuple[Recovery, object]]:
    """Outcome and content of copies of each kind, beside which nothing is left."""
    for copy in COPIES:
        path = copied(folder, elsewhere, copy)
        outcome = recover(path)
        assert list(listing(elsewhere)) == [NAME], copy
        assert recover(path) is Recovery.NOTHING
        yield outcome, path.read_bytes()


def check_copies(scene: Scene, elsewhere: Path) -> set[Recovery]:
    """Recover copies of what is there, which stays as it is; returns the outcomes."""
    before = listing(scene.folder)
    found = list(recovered_copies(scene.folder, elsewhere))
    assert {content for _, content in found} <= {OLD, scene.new}
    assert listing(scene.folder) == before
    return {outcome for outcome, _ in found}


def test_of_an_edit_that_was_killed(scene: Scene, elsewhere: Path) -> None:
    outcomes = set()
    for call in calls_of(scene):
        assert scene.patch(call.killed()).code == -SIGKILL
        outcomes |= check_copies(scene, elsewhere)
    assert outcomes == set(Recovery)


@pytest.mark.slow
def test_of_a_recovery_that_was_killed(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    n_checked = 0
    for call in calls_of(scene):
        for step in recovery_calls(scene, call):
            scene.patch(call.killed())
            assert scene.recover(step.killed()).code == -SIGKILL
            check_copies(scene, tmp_path / "copies")
            n_checked += 1
    assert n_checked > 10


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    skip_unless_inserting(tmp_path)
    (tmp_path / "begun").mkdir()
    return Begun(tmp_path / "begun")


@pytest.mark.parametrize("at", [*range(BLOCK, 40_001 + BLOCK, BLOCK), 1 << 20])
def test_of_an_insertion_that_a_power_cut_interrupted(
    begun: Begun, elsewhere: Path, at: int
) -> None:
    """A copy is recovered or refused: without the hole, nobody knows what has moved."""
    begun.append()
    begun.insert(at)
    outcomes = []
    for copy in COPIES:
        path = copied(begun.path.parent, elsewhere, copy)
        before = listing(elsewhere)
        try:
            outcomes.append(recover(path))
            assert listing(elsewhere) == {NAME: begun.old}
        except RefusedError as error:
            assert "hole" in f"{error} {error.hint}"
            assert listing(elsewhere) == before
    nothing_moved = at >= begun.journal.n_bytes_with_tail
    assert len(outcomes) == 3 or not nothing_moved, "an end that is cut off needs no hole"


def test_a_copy_with_its_hole(tmp_path: Path, begun: Begun) -> None:
    (tmp_path / "copies").mkdir()
    begun.append()
    begun.insert(3 * BLOCK)
    path = copied(begun.path.parent, tmp_path / "copies", copy_with_holes)
    assert recover(path) is Recovery.UNDONE
    assert listing(path.parent) == {NAME: begun.old}


def test_an_end_that_no_edit_made(begun: Begun) -> None:
    """Of the size that an insertion gives, with data behind the tail."""
    begun.append()
    begun.insert(1 << 20)
    with begun.opened() as descriptor:
        os.pwrite(descriptor, b"!", begun.journal.n_bytes_new - 1)
    before = listing(begun.path.parent)
    with pytest.raises(RefusedError, match="does not belong to it: it has other data"):
        recover(begun.path)
    assert listing(begun.path.parent) == before


def edited(begun: Begun, state: str) -> None:
    """Bring a file into one of the states of an edit."""
    if state != "begun":
        begun.append()
    if state in ("inserted", "header"):
        begun.insert(0)
    if state == "header":
        with begun.opened() as descriptor:
            os.pwrite(descriptor, begun.journal.after[: N_INSERTED // 2], 0)


@pytest.mark.parametrize("state", ["begun", "tail", "inserted", "header"])
@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_copy_that_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, state: str, data: st.DataObject
) -> None:
    """A changed byte of the header is noticed, or overwritten with the right one."""
    folder = tmp_path_factory.mktemp("models")
    skip_unless_inserting(folder)
    begun = Begun(folder)
    edited(begun, state)
    is_inserted = state in ("inserted", "header")
    end = len(begun.journal.after if is_inserted else begun.journal.before)
    at = data.draw(st.integers(0, end - 1))
    with begun.opened() as descriptor:
        os.pwrite(descriptor, bytes([data.draw(st.integers(0, 255))]), at)
    before = listing(folder)
    try:
        recover(begun.path)
        assert listing(folder)[NAME] in (begun.old, begun.new)
    except RefusedError:
        assert listing(folder) == before
    shutil.rmtree(folder)


@pytest.mark.parametrize("state", ["begun", "tail", "inserted", "header"])
def test_a_model_that_the_journal_does_not_belong_to(
    scene: Scene, tmp_path: Path, state: str
) -> None:
    """Of any size that the edit can have left, and another header, or other data."""
    folder = tmp_path / "begun"
    folder.mkdir()
    begun = Begun(folder)
    edited(begun, state)
    content = begun.path.read_bytes()
    journal = begun.journal
    start = len(journal.after if state in ("inserted", "header") else journal.before)
    for other in (
        bytes(reversed(content)),
        bytes(len(content)),
        content[:start] + bytes(n ^ 1 for n in content[start:]),
        bytes(n ^ 1 for n in content[:start]) + content[start:],
        OLD,
        scene.new,
    ):
        begun.path.write_bytes(other)
        before = listing(folder)
        with pytest.raises(RefusedError, match="does not belong to it: it"):
            recover(begun.path)
        assert listing(folder) == before
    assert journal_path(begun.path).name == JOURNAL
