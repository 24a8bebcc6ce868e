"""Runs `ggufsurgeon patch` over and over, hit by a signal at one moment later each time.

    python -m tests.writing.dying FIRST SECOND SOURCE FOLDER KIND [OLD [OPTION...]]

FIRST is a signal for the middle of the copy, 0 for none; SECOND comes at the n-th moment of the
n-th run, counted from the first signal, or from where the temporary file comes into being.
Moments are those at which Python looks for signals: when a function starts and when a call to
the system, or anything else in C, is back. Run n writes `new.gguf`, which holds OLD before, in a
folder n inside FOLDER; OPTIONs are more of the program. Temporary files have names where KIND is
"named". Ends behind the first run that has no
n-th moment, and puts the exit codes as JSON into FOLDER. Runs are forks of this process:
interpreters of their own would take minutes.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIG_DFL, SIGINT, SIGKILL, SIGTERM, signal
from types import CodeType, FrameType
from typing import Any, NoReturn

from ggufsurgeon.cli import app
from ggufsurgeon.writing import new_file
from ggufsurgeon.writing.placement import temporaries

WATCHED = (str(Path(new_file.__file__).parent), contextlib.__file__)
PATHLIB = pathlib.__file__.removesuffix("__init__.py")
CHANGING = ("rename", "replace", "unlink", "__fspath__", "__str__")
"""Where moments are counted: writing, and what it leaves its tidying to."""

OVER = 99
"""Exit code of a run that had no n-th moment."""
STARTS = (inspect.unwrap(temporaries.temporaries).__code__,)


def is_watched(code: CodeType) -> bool:
    in_pathlib = code.co_filename.startswith(PATHLIB) and code.co_name in CHANGING
    return in_pathlib or code.co_filename.startswith(WATCHED)


class Moments:
    """A profiler that sends this process a signal at the n-th moment from `counts` on."""

    def __init__(self, number: int, moment: int, starts: Sequence[CodeType]) -> None:
        self.counts = False
        self.left = moment
        self._starts = starts
        self._number = number

    def __call__(self, frame: FrameType, event: str, function: object) -> None:
        self.counts = self.counts or frame.f_code in self._starts
        if self.counts and self._is_one(event, function) and is_watched(frame.f_code):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self._number)

    def _is_one(self, event: str, function: object) -> bool:
        if self._number == SIGKILL:  # nothing tidies up: only what was done to files counts
            return event == "c_return" and getattr(function, "__module__", "") == os.name
        return event in ("call", "c_return")


def profile_writing(moments: Moments) -> None:
    """Count in writing alone, not in all that comes before it."""
    for name in ("write_new_file", "write_new_shards"):
        setattr(new_file, name, profiled(getattr(new_file, name), moments))


def profiled(write: Callable[..., Any], moments: Moments) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        sys.setprofile(moments)
        try:
            return write(*arguments, **options)
        finally:
            sys.setprofile(None)

    return call


def hit_the_copy(moments: Moments, number: int) -> None:
    """Send the first signal behind the first bytes, and count from there."""
    send = os.sendfile

    def hit(*arguments: Any) -> int:
        send(*arguments)
        moments.counts = True
        os.kill(os.getpid(), number)
        raise AssertionError("the signal did not interrupt")

    os.sendfile = hit  # type: ignore[assignment]


def run(first: int, second: int, moment: int) -> NoReturn:
    """In a child: the program."""
    moments = Moments(second, moment, () if first else STARTS)
    profile_writing(moments)
    if first:
        hit_the_copy(moments, first)
    try:
        app.main()
    except SystemExit as exit_:
        code = exit_.code
    # Not before the exception is gone, as in a real exit: what its frames held is let go of.
    os._exit(int(code or 0) if moments.left <= 0 else OVER)


def aim(source: str, destination: Path, old: str, options: Sequence[str]) -> None:
    """Make the destination, and ask for it to be written."""
    destination.parent.mkdir()
    if old:
        destination.write_text(old)
    sys.argv = ["ggufsurgeon", "patch", source, str(destination), "--window", "0:1"]
    sys.argv += [*["--replace"] * bool(old), *options]


def main(
    first: int, second: int, source: str, folder: Path, kind: str, old: str = "", *options: str
) -> None:
    if kind == "named":
        del os.O_TMPFILE
    for number in (SIGINT, SIGTERM):
        signal(number, SIG_DFL)  # in a shell's background they are ignored, and stay so
    with contextlib.suppress(SystemExit):
        aim(source, folder / "0" / "new.gguf", old, options)
        app.main()  # once in peace: imports all that the forks need
    codes: list[int] = []
    for moment in range(1, 1000):
        aim(source, folder / str(moment) / "new.gguf", old, options)
        child = os.fork()
        if not child:
            run(first, second, moment)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        if codes[-1] == OVER:
            break
    (folder / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), *sys.argv[5:])
