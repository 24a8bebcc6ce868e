"""Processes that have a file open or mapped, as far as /proc shows them (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def users_of(status: os.stat_result) -> list[str]:
    """Names and ids of processes that use a file, such as "llama-server (process 1234)". This
    process itself has the file open once, which is not counted."""
    found = []
    with suppress(OSError):
        for folder in sorted(PROC.iterdir()):
            if folder.name.isdecimal() and _uses(folder, status):
                found.append(_name(folder))
    return found


def _uses(folder: Path, status: os.stat_result) -> bool:
    n_own = 1 if folder.name == str(os.getpid()) else 0
    n_open = sum(os.path.samestat(status, each) for each in _open_files(folder / "fd"))
    return n_open > n_own or _has_mapped(folder, status)


def _open_files(folder: Path) -> Iterator[os.stat_result]:
    with suppress(OSError):
        for link in folder.iterdir():
            with suppress(OSError):
                yield link.stat()


def _has_mapped(folder: Path, status: os.stat_result) -> bool:
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}".encode()
    with suppress(OSError):
        for line in (folder / "maps").read_bytes().splitlines():
            if line.split()[3:5] == [device, str(status.st_ino).encode()]:
                return True
    return False


def _name(folder: Path) -> str:
    if folder.name == str(os.getpid()):
        return "this process"
    with suppress(OSError):
        return f"{(folder / 'comm').read_text().strip()} (process {folder.name})"
    return f"process {folder.name}"
