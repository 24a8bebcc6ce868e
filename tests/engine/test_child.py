"""A native abort in the child costs the parent nothing."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ggufsurgeon.engine.child import Reporter, run_in_child
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.progress import Progress

MODEL = Path("any.gguf")


def add(first: int, second: int, progress: Progress) -> int:
    print("noise on standard output")
    progress.begin("adding", 2, "terms")
    progress.advance(1, "one")
    progress.advance(1, "two")
    return first + second


def refuse(progress: Progress) -> None:
    raise MalformedFileError("m.gguf", "is bad", offset=7, hint="mend it")


def die(progress: Progress) -> None:
    os.write(2, b"GGML_ASSERT(x) failed\n")
    os.abort()


def stumble(progress: Progress) -> None:
    raise ZeroDivisionError("a bug")


def sleep(progress: Progress) -> None:
    progress.begin("sleeping", os.getpid(), "seconds")
    time.sleep(60)


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        self.seen.append((step, total, unit))

    def advance(self, n: int, note: str = "") -> None:
        self.seen.append((n, note))


def test_results_and_progress_come_back() -> None:
    watcher = Watcher()
    assert run_in_child(add, 2, 3, model=MODEL, progress=watcher) == 5
    assert watcher.seen == [("adding", 2, "terms"), (1, "one"), (1, "two")]


def test_errors_come_back_whole() -> None:
    with pytest.raises(MalformedFileError) as caught:
        run_in_child(refuse, model=MODEL)
    assert str(caught.value) == "m.gguf, at byte 7: is bad"
    assert (caught.value.offset, caught.value.hint) == (7, "mend it")


def test_an_abort_is_an_error_that_says_why() -> None:
    with pytest.raises(MalformedFileError, match=r"any.gguf: .*SIGABRT.*GGML_ASSERT\(x\) failed"):
        run_in_child(die, model=MODEL)


def test_a_bug_in_the_child_stays_a_bug() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug"):
        run_in_child(stumble, model=MODEL)


class Stop:
    """Interrupts the parent as soon as the child has started."""

    def __init__(self) -> None:
        self.pid = 0

    def begin(self, step: str, total: int, unit: str) -> None:
        self.pid = total
        raise RefusedError("enough")

    def advance(self, n: int, note: str = "") -> None: ...


def test_an_interrupted_parent_leaves_no_child() -> None:
    stop = Stop()
    with pytest.raises(RefusedError):
        run_in_child(sleep, model=MODEL, progress=stop)
    states = subprocess.run(["ps", "-o", "stat=", "-p", str(stop.pid)], capture_output=True)
    assert states.stdout == b""


def talk(n_times: int, reporter: Reporter) -> int:
    for _ in range(n_times):
        reporter.say("a piece of text" * 100)
    return n_times


@pytest.mark.parametrize("kind", [BrokenPipeError, EOFError])
def test_what_the_listener_raises_ends_the_child(kind: type[Exception], tmp_path: Path) -> None:
    """And is not taken for the child's death, which would be waited for."""

    def hear(_: str) -> None:
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        run_in_child(talk, 100_000, model=tmp_path, hear=hear)
    heard: list[str] = []
    assert run_in_child(talk, 3, model=tmp_path, hear=heard.append) == len(heard) == 3
