"""File systems of images, mounted where that is allowed; the test is skipped where it is not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import is_root


def run(*command: str | Path) -> str:
    """What went wrong, if anything did."""
    if shutil.which(str(command[0])) is None:
        return f"{command[0]} is not here"
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr.strip() or f"{command[0]} failed" if done.returncode else ""


@contextmanager
def mounted_image(folder: Path, n_bytes: int, *make: str) -> Iterator[Path]:
    """A new file system of `n_bytes`, made by the command `make` in an image with holes."""
    image = folder.with_name(f"{folder.name}.image")
    with image.open("wb") as file:
        file.truncate(n_bytes)
    try:
        with mounted(folder, make[0], [[*make, image], ["mount", "-o", "loop", image, folder]]):
            yield folder
    finally:
        image.unlink()


@contextmanager
def mounted_memory(folder: Path, kind: str, *options: str) -> Iterator[Path]:
    """A file system in memory: tmpfs or ramfs."""
    with mounted(folder, kind, [["mount", "-t", kind, *options, "none", folder]]):
        yield folder


@contextmanager
def mounted(folder: Path, name: str, commands: Sequence[Sequence[str | Path]]) -> Iterator[None]:
    """Runs the commands, of which the last one mounts, until one fails."""
    if not is_root():
        pytest.skip("only root can mount file systems")
    folder.mkdir(exist_ok=True)
    problem = next((problem for command in commands if (problem := run(*command))), "")
    if problem:
        pytest.skip(f"{name}: no file system could be mounted: {problem}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
