"""Control groups: trees of files as the kernel shows them, and real ones that processes run in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ggufsurgeon.engine.limits.control_groups import ControlGroup, control_groups
from tests.conftest import ROOT


def proc_of(folder: Path, cgroup: str, mountinfo: str, meminfo: str = "") -> Path:
    """A directory like /proc; FOLDER in `mountinfo` stands for where the trees are made."""
    proc = folder / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(cgroup)
    (proc / "self/mountinfo").write_text(mountinfo.replace("FOLDER", str(folder)))
    (proc / "meminfo").write_text(meminfo)
    return proc


def put(folder: Path, files: Mapping[str, str]) -> None:
    """Make files with a line of text each."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")


@contextmanager
def real_group(controller: str, settings: Mapping[int, Mapping[str, str]]) -> Iterator[str]:
    """A real group with settings by the version of control groups; a shell command that joins it.

    Skips the test where no group can be made.
    """
    group = _made_group(controller)
    try:
        for name, text in settings[group.version].items():
            (group.folder / name).write_text(text)
        yield f"echo $$ > {group.folder}/cgroup.procs && "
    finally:
        _remove(group.folder)


def run_in(joins: str, code: str) -> str:
    """What Python code prints in a process of a group."""
    command = f'{joins}exec "$0" -c "$1"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def memory_limits(n_bytes: int) -> dict[int, dict[str, str]]:
    return {
        1: {"memory.limit_in_bytes": str(n_bytes)},
        2: {"memory.max": str(n_bytes), "memory.swap.max": "0"},
    }


def _made_group(controller: str) -> ControlGroup:
    for own in control_groups(controller)[:1]:
        group = ControlGroup(own.folder / f"ggufsurgeon-test-{os.getpid()}", own.version)
        with suppress(OSError):
            group.folder.mkdir()
            if any(group.folder.glob(f"{controller}.*")):
                return group
            group.folder.rmdir()
    pytest.skip(f"no control group of {controller} can be made here")


def _remove(folder: Path) -> None:
    """Remove a group, which the kernel refuses until the last process in it is gone."""
    end = time.monotonic() + 5
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
