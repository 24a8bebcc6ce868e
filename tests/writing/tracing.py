"""The program under strace, which can have system calls fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest


class Traced(NamedTuple):
    """What a command of the program printed, and its system calls."""

    done: subprocess.CompletedProcess[str]
    calls: list[str]

    def of(self, call: str) -> list[str]:
        """The calls of one name, with their arguments and results."""
        return [line for line in self.calls if f" {call}(" in line]


def traced(folder: Path, trace: str, inject: str, *arguments: str) -> Traced:
    """Run a command in `folder`. `trace` and `inject` are those of strace(1)."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not here to make system calls fail")
    log = folder / "strace.log"
    strace = ["strace", "-f", "-o", str(log), "-e", f"trace={trace}", "-e", f"inject={inject}"]
    program = [sys.executable, "-m", "ggufsurgeon", *arguments]
    done = subprocess.run(
        [*strace, *program], cwd=folder, capture_output=True, text=True, timeout=120
    )
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.splitlines()[0]}")
    return Traced(done, log.read_text().splitlines())
