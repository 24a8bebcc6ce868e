"""The program in forks of a process that has imported it already: interpreters would take minutes.

    python -m tests.writing.forked

Reads one request a line from stdin, and answers each with a line: JSON, as in `strikes`. A fork
that is traced waits until strace is attached to it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from ggufsurgeon.cli import app

PR_SET_PTRACER = 0x59616D61
"""linux/prctl.h: who may trace this process where Yama restricts that."""
SECONDS = 60
"""After which a fork is killed."""


def aim(folder: str, arguments: Sequence[str]) -> None:
    os.chdir(folder)
    sys.argv = ["ggufsurgeon", *arguments]


def warm(request: dict[str, Any]) -> None:
    """Run a command in this process: it imports what the forks need."""
    aim(request["folder"], request["arguments"])
    with suppress(SystemExit):
        app.main()


def run(request: dict[str, Any], start: int) -> NoReturn:
    """In a fork: run a command, once there is a byte in the pipe."""
    signal.alarm(SECONDS)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for name in request["without"]:
        delattr(os, name)
    aim(request["folder"], request["arguments"])
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    os.read(start, 1)
    code = 1
    try:
        app.main()
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    # Not before the exception is gone, as in a real exit: what its frames held is let go of.
    sys.stdout.flush()
    os._exit(code)


def attach(options: Sequence[str], pid: int) -> subprocess.Popen[str]:
    """strace, attached to a process, or ended where it may not be."""
    command = ["strace", "-f", *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    if "attached" not in line:
        tracer.wait()
        raise PermissionError(line.strip())
    return tracer


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What a command did."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start, go = os.pipe()
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            run(request, start)
        os.close(start)
        try:
            tracer = attach(request["strace"], child) if request["strace"] else None
        except PermissionError as error:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {"refused": str(error)}
        finally:
            os.write(go, b"1")
            os.close(go)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if tracer is not None:
            tracer.communicate()
        texts = [(file.seek(0), file.read())[1] for file in (out, err)]
    return {"code": code, "stdout": texts[0], "stderr": texts[1]}


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        request = json.loads(line)
        if request["is_warming"]:
            warm(request)
            reply: dict[str, Any] = {}
        else:
            reply = answer(request)
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
