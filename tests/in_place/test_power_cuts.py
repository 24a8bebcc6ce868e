"""Power cuts at each system call that changes files: a copy of the disk at that time is mounted.

The image of a mounted file system is copied as it is, without what is still in memory; mounting the
copy has the file system's own journal replayed, as after a power cut.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from ggufsurgeon.in_place.recovery import Recovery, recover
from tests.in_place.disks import disk
from tests.in_place.test_copies import recovered_copies
from tests.in_place.test_killed import JOURNAL, NAME, OLD, PATCH
from tests.writing.mounting import mounted
from tests.writing.plans import listing
from tests.writing.strikes import ForkedProgram, forked_program

pytestmark = pytest.mark.slow


@pytest.fixture(params=["ext4", "xfs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with disk(request.param, tmp_path / "disk") as mounted_folder:
        yield mounted_folder


@pytest.fixture
def program(tmp_path: Path) -> Iterator[ForkedProgram]:
    with forked_program(tmp_path) as program:
        yield program


def start(folder: Path) -> None:
    """The old model, safe on the disk."""
    for path in folder.glob("model*"):
        path.unlink()
    (folder / NAME).write_bytes(OLD)
    subprocess.run(["sync", "-f", folder], check=True)


def after_power_cut(folder: Path) -> tuple[set[str], bytes, bool]:
    """Outcome, model, and whether there was a journal, as found after a restart and a recovery.

    Copies of both are recovered before, on another file system, and must come to the same.
    """
    image = folder.with_name(f"{folder.name}.image")
    copy, again = folder.with_name("copy.image"), folder.with_name("again")
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir()
    subprocess.run(["cp", "--sparse=always", image, copy], check=True)
    mount = ["mount", "-o", "loop,nouuid" if is_xfs(image) else "loop", copy, again]
    with mounted(again, "copy", [mount]):
        had_journal = (again / JOURNAL).exists()
        copies = list(recovered_copies(again, elsewhere))
        outcome = recover(again / NAME)
        assert (outcome is Recovery.NOTHING) == (not had_journal)
        found = {name for name in listing(again) if name != "lost+found"}
        content = (again / NAME).read_bytes()
        assert copies == [(outcome, content)] * len(copies)
    copy.unlink()
    for each in (again, elsewhere):
        shutil.rmtree(each)
    return found, content, had_journal


def is_xfs(image: Path) -> bool:
    with image.open("rb") as file:
        return file.read(4) == b"XFSB"


def test_the_power_goes(folder: Path, program: ForkedProgram) -> None:
    start(folder)
    program.warm(folder, *PATCH)
    new = (folder / NAME).read_bytes()
    start(folder)
    calls = program.run(folder, *PATCH).changing
    states = set()
    for call in calls:
        start(folder)
        assert program.run(folder, *PATCH, inject=call.killed()).code == -SIGKILL
        found, content, had_journal = after_power_cut(folder)
        assert found == {NAME}, call
        assert content in (OLD, new), call
        states.add((had_journal, content == new))
    assert states >= {(False, False), (True, False), (True, True)}
    start(folder)
    assert program.run(folder, *PATCH).code == 0
    assert after_power_cut(folder) == ({NAME}, new, False), "what is told to be done is durable"
