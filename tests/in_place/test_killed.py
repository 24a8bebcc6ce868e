"""After SIGKILL at each system call that changes files, `recover` restores a valid file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from signal import SIGKILL, Signals
from typing import NamedTuple

import pytest

from ggufsurgeon.container.interrupted_edits import SUFFIX
from tests.in_place.disks import disk, model_of, skip_unless_inserting
from tests.writing.plans import listing
from tests.writing.strikes import Call, ForkedProgram, Run, forked_program

NAME = "model.gguf"
JOURNAL = NAME + SUFFIX
PATCH = ("patch", NAME, "--in-place", "--window", "1:3")
RECOVER = ("recover", NAME)
OLD = model_of(4, more=5000)
"""What follows the data is written over by repeats: undoing that takes the journal."""


class Scene(NamedTuple):
    """A folder in which a model is patched in place, over and over."""

    program: ForkedProgram
    folder: Path
    new: bytes

    def patch(self, inject: str) -> Run:
        """Strike the patch of the old model."""
        for path in self.folder.iterdir():
            path.unlink()
        (self.folder / NAME).write_bytes(OLD)
        return self.program.run(self.folder, *PATCH, inject=inject or ())

    def recover(self, inject: str = "") -> Run:
        """Strike the recovery."""
        return self.program.run(self.folder, *RECOVER, inject=inject or ())

    def assert_good(self, *allowed: bytes) -> None:
        """One of these files is there, and nothing else."""
        found = listing(self.folder)
        assert found in [{NAME: content} for content in allowed], sorted(found)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedProgram]:
    with forked_program(tmp_path_factory.mktemp("log")) as program:
        yield program


@pytest.fixture(scope="module", params=["here", pytest.param("xfs", marks=pytest.mark.slow)])
def scene(
    request: pytest.FixtureRequest, program: ForkedProgram, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("disk")
    if request.param == "here":
        skip_unless_inserting(folder)
        yield scene_in(folder, program)
    else:
        with disk(request.param, folder / "mounted") as mounted:
            inner = mounted / "models"
            inner.mkdir()
            yield scene_in(inner, program)


def scene_in(folder: Path, program: ForkedProgram) -> Scene:
    (folder / NAME).write_bytes(OLD)
    program.warm(folder, *PATCH)
    program.warm(folder, *RECOVER)
    return Scene(program, folder, (folder / NAME).read_bytes())


def calls_of(scene: Scene) -> list[Call]:
    run = scene.patch("")
    assert run.code == 0, run.stderr
    scene.assert_good(scene.new)
    return run.changing


def test_killed(scene: Scene) -> None:
    calls = calls_of(scene)
    outcomes = set()
    for call in calls:
        run = scene.patch(call.killed())
        assert run.code == -SIGKILL, call
        had_journal = (scene.folder / JOURNAL).exists()
        done = scene.recover()
        assert done.code == 0, (call, done.stderr)
        scene.assert_good(OLD, scene.new)
        outcomes.add((had_journal, (scene.folder / NAME).read_bytes() == scene.new))
        again = scene.recover()
        assert "nothing to do" in again.stdout
    assert outcomes >= {(False, False), (True, False), (True, True)}, calls
    assert {"fallocate", "linkat", "unlink", "fsync", "pwrite64"} <= {call.name for call in calls}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tmpfs", "btrfs"])
def test_killed_while_a_new_file_takes_its_place(
    program: ForkedProgram, tmp_path: Path, kind: str
) -> None:
    """No journal is needed; temporary files of the killed are gone after the next run."""
    with disk(kind, tmp_path / "disk") as mounted:
        folder = mounted / "models"
        folder.mkdir()
        scene = scene_in(folder, program)
        outcomes = set()
        for call in calls_of(scene):
            run = scene.patch(call.killed())
            # Files of /proc are opened too, as many as there are processes at that time.
            assert run.code == -SIGKILL or (call.name, run.code) == ("openat", 0), call
            assert not (folder / JOURNAL).exists(), call
            outcomes.add((folder / NAME).read_bytes())
            assert "nothing to do" in scene.recover().stdout
            scene.assert_good(OLD, scene.new)
        assert outcomes == {OLD, scene.new}


@pytest.mark.slow
def test_a_recovery_that_is_killed(scene: Scene) -> None:
    """At each of its calls, from each state that a patch can leave."""
    for call in calls_of(scene):
        for step in recovery_calls(scene, call):
            scene.patch(call.killed())
            run = scene.recover(step.killed())
            assert run.code == -SIGKILL, (call, step)
            assert scene.recover().code == 0, (call, step)
            scene.assert_good(OLD, scene.new)


def recovery_calls(scene: Scene, call: Call) -> list[Call]:
    """What a recovery does once a patch was killed at a call."""
    scene.patch(call.killed())
    return scene.recover().changing if (scene.folder / JOURNAL).exists() else []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted(scene: Scene, name: str) -> None:
    """Ctrl-C undoes an edit whose header is not written yet, or finishes it, and says which."""
    told = set()
    for call in calls_of(scene):
        run = scene.patch(f"{call.name}:signal={name}:when={call.number}")
        if run.code == 0:  # too late to be noticed
            scene.assert_good(scene.new)
            continue
        assert run.code == 128 + Signals[name].value, (call, run.stderr)
        state = run.stderr.splitlines()[-1].strip()
        scene.assert_good(OLD if state == "The model is as it was." else scene.new)
        told.add(state)
    assert len(told) == 2, told


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_call_that_fails(scene: Scene, error: str) -> None:
    for call in calls_of(scene):
        for for_good in (False, True):
            if call.name == "write" and for_good:  # which tells of the error too
                continue
            run = scene.patch(call.failing(error, for_good=for_good))
            check_failure(scene, call, run)


def check_failure(scene: Scene, call: Call, run: Run) -> None:
    """Check that the edit was undone or finished, or that the error says to run recover."""
    if run.code == 0:
        scene.assert_good(scene.new)
        return
    assert run.code == 5, (call, run.stderr)
    first, *more = [line for line in run.stderr.splitlines() if not line.startswith("note: ")]
    assert first.startswith("error: ") and "Traceback" not in run.stderr, (call, run.stderr)
    if (scene.folder / JOURNAL).exists():
        assert more[-1].endswith("ggufsurgeon recover model.gguf"), (call, run.stderr)
        assert scene.recover().code == 0, call
        scene.assert_good(OLD, scene.new)
    else:
        scene.assert_good(OLD)


def test_each_step_is_durable_before_the_next(scene: Scene) -> None:
    """The journal before the tail, that before the insertion, and the header before the journal
    goes."""
    names = [name_of(call) for call in calls_of(scene) if " = -1 " not in call.text]
    done = names[names.index("linkat") :]
    steps = [name for name, _ in groupby(done)]
    assert steps == [
        *("linkat", "fsync"),
        *("fallocate", "sendfile", "write", "fsync"),
        *("insert", "fsync"),
        *("fallocate", "pwrite64", "fsync"),
        *("unlink", "fsync"),
    ]


def name_of(call: Call) -> str:
    return "insert" if "INSERT_RANGE" in call.text else call.name
