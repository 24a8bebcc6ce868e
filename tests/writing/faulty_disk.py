"""A disk on which chosen operations fail, mounted where that is allowed."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.conftest import ROOT, is_root

DEVICE = Path("/dev/fuse")


class FaultyDisk:
    """A folder whose file system fails as it is told to. Made by `faulty_disk`."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self._process = process

    def fail(self, op: str, error: int = errno.EIO, **where: Any) -> None:
        """Have an operation fail from now on, and no other; `where` is a name, or a byte `at`."""
        self._send([{"op": op, "errno": error, **where}])

    def heal(self) -> None:
        """Have nothing fail from now on."""
        self._send([])

    def _send(self, faults: list[dict[str, Any]]) -> None:
        print(json.dumps(faults), file=_pipe(self._process.stdin), flush=True)
        assert _pipe(self._process.stdout).readline() == "\n"


def _pipe(file: IO[str] | None) -> IO[str]:
    assert file is not None
    return file


@contextmanager
def faulty_disk(folder: Path) -> Iterator[FaultyDisk]:
    """Mounts such a file system at `folder`, over another folder beside it."""
    if not is_root():
        pytest.skip("only root can mount file systems")
    if not DEVICE.exists():
        pytest.skip(f"no file system in user space can be mounted: {DEVICE} is not here")
    backing = folder.with_name(f"{folder.name}.backing")
    for each in (folder, backing):
        each.mkdir()
    command = [sys.executable, "-m", "tests.writing.fuse_server", str(backing), str(folder)]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        try:
            if _pipe(process.stdout).readline() != "\n":
                problem = _pipe(process.stderr).read().strip()
                pytest.skip(f"no file system in user space can be mounted: {problem}")
            yield FaultyDisk(folder, process)
        finally:
            subprocess.run(["umount", "-l", folder], stderr=subprocess.DEVNULL, check=False)
            process.kill()
