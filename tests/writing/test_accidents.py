"""Law 5 at each system call that changes files: the program is killed, or the call fails.

For a new file, one that replaces another, shards, a restored file, and the file of a recipe.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGKILL
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.writing.plans import listing
from tests.writing.strikes import Call, ForkedProgram, Run, forked_program

SOURCE = ROOT / "fixtures/stories260K.gguf"
OLD = b"old"
NAMELESS: tuple[str, ...] = ()
NAMED = ("O_TMPFILE",)
"""As on systems other than Linux; file systems without it differ only in that opening fails."""


class Write(NamedTuple):
    """A command that writes; SOURCES in its arguments stands for the folder of what it reads."""

    arguments: tuple[str, ...]
    replaces: bool = False
    without: tuple[str, ...] = NAMELESS


WINDOW = ("--window", "0:5")
NEW = Write(("patch", "SOURCES/model.gguf", "new.gguf", *WINDOW))
REPLACE = Write((*NEW.arguments, "--replace"), replaces=True)
SHARDS = Write((*NEW.arguments, "--split-max-size", "1M"))
RESTORE = Write(("restore", "SOURCES/patched.gguf", "new.gguf"))
RECIPE = Write(("patch", "SOURCES/model.gguf", "new.gguf", "--recipe", "SOURCES/recipe"))
WRITES = {
    "new": NEW,
    "replace": REPLACE,
    "shards": SHARDS,
    "restore": RESTORE,
    "recipe": RECIPE,
    "new-named": NEW._replace(without=NAMED),
    "replace-named": REPLACE._replace(without=NAMED),
    "shards-named": SHARDS._replace(without=NAMED),
}


class Scene:
    """What a command reads, what it makes undisturbed, and by which calls."""

    def __init__(self, program: ForkedProgram, sources: Path, folder: Path, write: Write) -> None:
        self.write = write
        self.before: dict[str, object] = {"new.gguf": OLD} if write.replaces else {}
        self._program = program
        self._sources = sources
        self._folder = folder
        self._n_runs = 0
        calm, self.after = self.run()
        assert (calm.code, calm.stderr) == (0, "")
        self.calls = calm.changing

    def run(self, inject: str = "") -> tuple[Run, dict[str, object]]:
        """Strike the command; what it did, and what is there then."""
        folder = self._new_folder()
        for name, content in self.before.items():
            assert isinstance(content, bytes)
            (folder / name).write_bytes(content)
        run = self._program.run(
            folder, *self._arguments(), inject=[inject] * bool(inject), without=self.write.without
        )
        return run, listing(folder)

    def run_next(self) -> dict[str, object]:
        """What is there once the last folder was written into again, under another name."""
        folder = self._folder / str(self._n_runs)
        arguments = [word.replace("new.gguf", "next.gguf") for word in self._arguments()]
        run = self._program.run(folder, *arguments, trace=(), without=self.write.without)
        assert run.code == 0, run.stderr
        found = listing(folder)
        shutil.rmtree(folder)
        return {name: told for name, told in found.items() if not name.startswith("next")}

    def _arguments(self) -> list[str]:
        return [word.replace("SOURCES", str(self._sources)) for word in self.write.arguments]

    def _new_folder(self) -> Path:
        shutil.rmtree(self._folder / str(self._n_runs), ignore_errors=True)
        self._n_runs += 1
        folder = self._folder / str(self._n_runs)
        folder.mkdir()
        return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedProgram]:
    with forked_program(tmp_path_factory.mktemp("log")) as program:
        yield program


@pytest.fixture(scope="module")
def sources(program: ForkedProgram, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is read; it must be the same in the end."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "model.gguf").write_bytes(SOURCE.read_bytes())
    for arguments in (NEW.arguments, ("recipe", "new.gguf")):
        program.warm(folder, *[word.replace("SOURCES", str(folder)) for word in arguments])
    recipe = program.run(folder, "recipe", "new.gguf", trace=())
    (folder / "recipe").write_text(recipe.stdout)
    (folder / "new.gguf").rename(folder / "patched.gguf")
    before = listing(folder)
    yield folder
    assert listing(folder) == before


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, program: ForkedProgram, sources: Path, tmp_path: Path
) -> Scene:
    return Scene(program, sources, tmp_path, WRITES[request.param])


@pytest.fixture
def scene_of_new(program: ForkedProgram, sources: Path, tmp_path: Path) -> Scene:
    return Scene(program, sources, tmp_path, NEW)


def scenes(fast: Sequence[str] = (), left_out: Sequence[str] = ()) -> pytest.MarkDecorator:
    """The writes; only the fast ones are among the fast tests."""
    marks = {name: () if name in fast else (pytest.mark.slow,) for name in WRITES}
    names = [name for name in WRITES if name not in left_out]
    values = [pytest.param(name, id=name, marks=marks[name]) for name in names]
    return pytest.mark.parametrize("scene", values, indirect=True)


def named(found: dict[str, object]) -> dict[str, object]:
    return {name: told for name, told in found.items() if not is_temporary(name)}


def is_temporary(name: str) -> bool:
    return name.startswith(".ggufsurgeon-")


def is_allowed(found: dict[str, object], scene: Scene) -> bool:
    """Whether all is as it was, or complete, or shards lack the first, and others maybe."""
    if found in (scene.before, scene.after):
        return True
    is_part = found.items() <= scene.after.items()
    return len(scene.after) > 1 and is_part and min(scene.after) not in found


@scenes(fast=["new", "replace"])
def test_killed(scene: Scene) -> None:
    n_tidied = 0
    for call in scene.calls:
        run, found = scene.run(call.killed())
        assert run.code == -SIGKILL, call
        assert is_allowed(named(found), scene), (call, sorted(found))
        n_left = len(found) - len(named(found))
        most = scene.write.replaces if scene.write.without == NAMELESS else len(scene.after)
        assert n_left <= most, (call, sorted(found))
        if n_left:
            assert scene.run_next() == named(found), call
            n_tidied += n_left
    assert bool(n_tidied) == bool(scene.write.replaces or scene.write.without), scene.calls
    assert len(scene.calls) >= 9, scene.calls


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@scenes(left_out=["replace-named", "shards-named"])
def test_a_call_that_fails(scene: Scene, error: str) -> None:
    for call in scene.calls:
        check_failure(scene, call, call.failing(error))
        if call.name != "write":  # which tells of the error too
            check_failure(scene, call, call.failing(error, for_good=True))


@pytest.mark.slow
@pytest.mark.parametrize("error", ["EDQUOT", "EROFS", "EINTR"])
def test_other_errors(scene_of_new: Scene, error: str) -> None:
    for call in scene_of_new.calls:
        check_failure(scene_of_new, call, call.failing(error))


def test_a_disk_that_is_full_from_a_call_on(scene_of_new: Scene) -> None:
    for call in scene_of_new.calls:
        for_good = call.name != "write"  # which tells of the error too
        check_failure(scene_of_new, call, call.failing("ENOSPC", for_good=for_good))


def check_failure(scene: Scene, call: Call, inject: str) -> None:
    """All holds that is promised, of the files and of what is told."""
    run, found = scene.run(inject)
    if call.name.startswith("unlink"):  # the one call that would tidy up is the one that fails
        found = named(found)
    if run.code == 0:
        assert (found, run.stderr) == (scene.after, ""), inject
        return
    assert run.code == 5, (inject, run.stderr)
    assert found == scene.before, (inject, sorted(found), run.stderr)
    first, state, *hints = run.stderr.splitlines()
    assert first.startswith("error: ") and state == "  The destination is as it was.", inject
    assert len(hints) <= 2, run.stderr


class Step(NamedTuple):
    """What a call does for a file: "write", "sync" or "publish" one, or "sync" its folder."""

    what: str
    name: str


@scenes(fast=["new", "replace", "shards"])
def test_what_a_power_cut_would_find(scene: Scene) -> None:
    """A power cut cannot be simulated here, so the order of system calls is checked instead.

    Each file is synced behind its last byte, and before any has its name. The folder is synced
    behind the last name, and behind all others before the first shard has its.
    """
    steps = [step for call in scene.calls if (step := step_of(call))]
    published = [step for step in steps if step.what == "publish"]
    assert [step.name for step in published] == sorted(scene.after, reverse=True)
    first = steps.index(published[0])
    for file in {step.name for step in steps if step.what == "write"}:
        ours = [step.what for step in steps if step.name == file]
        assert ours.count("sync") == 1 and ours[-1] == "sync", ours
        assert steps.index(Step("sync", file)) < first
    assert sum(step.what == "write" for step in steps) > len(scene.after)
    folder = Step("sync", "")
    assert steps[first:] == [
        *published[:-1],
        *[folder] * (len(published) > 1),
        published[-1],
        folder,
    ]


def step_of(call: Call) -> Step | None:
    """None for what is of no account here, such as reservations."""
    if call.name in ("link", "linkat", "rename", "renameat", "renameat2"):
        name = Path(call.text.split('"')[3]).name
        return None if is_temporary(name) else Step("publish", name)
    file = re.match(r"\d+<([^>]*)>", call.text)
    if file is None or call.name not in ("write", "sendfile", "copy_file_range", "fsync"):
        return None
    name = Path(file[1]).name
    is_file = is_temporary(name) or name.startswith("#")  # one without a name
    return Step("sync" if call.name == "fsync" else "write", name if is_file else "")
