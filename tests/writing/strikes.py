"""Fault injection at any system call of the program: it is killed or stopped, or the call fails.

    with forked_program(folder) as program:
        calm = program.run(folder / "calm", *arguments)
        for call in calm.changing:
            program.run(folder / str(call), *arguments, inject=call.killed())

A process that is killed on entering a call has done all that comes before it, and not the call.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from select import select
from signal import SIGCONT
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT

CHANGING = (
    *("write", "pwrite64", "writev", "sendfile", "copy_file_range", "splice", "ioctl"),
    *("fallocate", "truncate", "ftruncate", "fsync", "fdatasync", "sync_file_range", "msync"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("open", "openat", "creat", "mkdir", "mkdirat", "rmdir", "symlink", "symlinkat"),
    *("chmod", "fchmod", "fchmodat", "setxattr", "fsetxattr"),
)
"""Calls that can change files; the trace has those that do, of open those that create."""
STOPPED = re.compile(r"(\d+) +--- stopped by SIGSTOP ---")
LINE = re.compile(r"(\d+) +(\w+)\((.*)")
HARMLESS = re.compile(r"write\([12]<|open(at)?\((?!.*(O_CREAT|O_TMPFILE))|ioctl\((?!.*FICLONE)")


class Call(NamedTuple):
    """A system call of a run: the n-th of its name in its thread."""

    name: str
    number: int
    text: str
    """Arguments and result, as strace prints them, with the paths of descriptors (-y)."""

    def killed(self) -> str:
        """What has strace kill the process on entering it."""
        return f"{self.name}:signal=SIGKILL:when={self.number}"

    def stopped(self) -> str:
        """What has it stop once the call is back, until it is told to go on."""
        return f"{self.name}:signal=SIGSTOP:when={self.number}"

    def failing(self, error: str, *, for_good: bool = False) -> str:
        """What has it fail, and those of its name behind it too."""
        return f"{self.name}:error={error}:when={self.number}{'+' * for_good}"


class Run(NamedTuple):
    """What a command did."""

    code: int
    """Exit code; -N if signal N killed it."""
    stdout: str
    stderr: str
    calls: list[Call]
    """All of the traced calls, in order."""

    @property
    def changing(self) -> list[Call]:
        """The calls that change files."""
        return [call for call in self.calls if not HARMLESS.match(f"{call.name}({call.text}")]


class ForkedProgram:
    """Runs commands of the program, each in a process of its own. Made by `forked_program`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def warm(self, folder: Path, *arguments: str | Path) -> None:
        """Run a command for the sake of what it imports: those that follow are faster."""
        self._send(is_warming=True, folder=str(folder), arguments=[*map(str, arguments)])
        self._receive()

    def run(
        self,
        folder: Path,
        *arguments: str | Path,
        inject: str | Sequence[str] = (),
        trace: Sequence[str] = CHANGING,
        without: Sequence[str] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> Run:
        """Run a command in `folder`, with calls traced; none are with an empty `trace`.

        `inject` is that of strace(1), or several; where it stops the program, `meanwhile` is done,
        and then the program goes on. `without` names what the module os lacks, as on another
        system. Skips the test where processes may not be traced.
        """
        self._log.unlink(missing_ok=True)
        injects = [inject] if isinstance(inject, str) else inject
        strikes = [word for each in injects for word in ("-e", f"inject={each}")]
        strace = [
            "-y",
            "-o",
            str(self._log),
            "-e",
            f"trace={','.join(f'?{name}' for name in trace)}",
        ]
        self._send(
            is_warming=False,
            folder=str(folder),
            arguments=[*map(str, arguments)],
            without=list(without),
            strace=[*strace, *strikes] if trace else [],
        )
        if meanwhile is not None:
            self._await_stop(meanwhile)
        told = self._receive()
        if "refused" in told:
            pytest.skip(f"strace may not trace here: {told['refused']}")
        calls = parse_calls(self._log.read_text().splitlines()) if trace else []
        return Run(told["code"], told["stdout"], told["stderr"], calls)

    def _await_stop(self, act: Callable[[], object]) -> None:
        """Act once the program has stopped, unless it cannot be traced."""
        assert self._process.stdout is not None
        while not (self._log.exists() and (found := STOPPED.search(self._log.read_text()))):
            if select([self._process.stdout], [], [], 0.002)[0]:
                return
        act()
        os.kill(int(found[1]), SIGCONT)

    def _send(self, **request: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        reply: dict[str, Any] = json.loads(self._process.stdout.readline())
        return reply


def parse_calls(lines: Sequence[str]) -> list[Call]:
    """The calls of a log of strace; those that were resumed count where they began."""
    counts: Counter[tuple[str, str]] = Counter()
    calls = []
    for line in lines:
        if found := LINE.match(line):
            thread, name, text = found.groups()
            counts[thread, name] += 1
            calls.append(Call(name, counts[thread, name], text))
    return calls


@contextmanager
def forked_program(folder: Path, prefix: Sequence[str] = ()) -> Iterator[ForkedProgram]:
    """The program, for as many runs as one likes; `folder` is for the log of strace.

    A command in `prefix` runs it, such as setpriv(1).
    """
    if shutil.which("strace") is None:
        pytest.skip("strace is not here to strike system calls")
    command = [*prefix, sys.executable, "-m", "tests.writing.forked"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        try:
            yield ForkedProgram(process, folder / "strace.log")
        finally:
            process.kill()
