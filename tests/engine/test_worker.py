"""Workers: jobs over models that stay loaded, in a process that llama.cpp may take down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import numpy as np

from ggufsurgeon.engine.context import Batch, opened_context
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.engine.runner import InProcess, Runner
from ggufsurgeon.engine.session import Reporter, Session
from ggufsurgeon.engine.worker import Worker
from ggufsurgeon.errors import EngineError, MalformedFileError, RefusedError, UsageError
from tests.conftest import ROOT

TOKENS = np.arange(1, 200, dtype=np.int32)


def add(_session: Session, first: int, second: int, reporter: Reporter) -> int:
    print("noise on standard output")
    reporter.begin("adding", 2, "terms")
    reporter.advance(1, "one")
    reporter.emit("half")
    reporter.advance(1, "two")
    return first + second


def refuse(_session: Session, _reporter: Reporter) -> None:
    raise MalformedFileError("m.gguf", "is bad", offset=7, hint="mend it")


def die(_session: Session, number: int, _reporter: Reporter) -> None:
    os.write(2, b"GGML_ASSERT(x) failed\n")
    os.kill(os.getpid(), number)


def die_before_a_run(session: Session, path: Path, _reporter: Reporter) -> None:
    with opened_context(session.model(path, Devices()), 8, 8):
        os.abort()


def die_of_another(session: Session, path: Path, other: Path, reporter: Reporter) -> None:
    """Two models are loaded, and the second one runs first."""
    session.model(path, Devices())
    die_before_a_run(session, other, reporter)


def die_after_a_run(session: Session, path: Path, reporter: Reporter) -> None:
    decode(session, path, reporter)
    os.abort()


def stumble(_session: Session, _reporter: Reporter) -> None:
    raise ZeroDivisionError("a bug")


def count(_session: Session, n: int, reporter: Reporter) -> int:
    for number in range(n):
        reporter.emit(number)
    return n


def sleep(_session: Session, _reporter: Reporter) -> None:
    time.sleep(60)


def model_id(session: Session, path: Path, _reporter: Reporter) -> tuple[int, int]:
    """The process, and the address of the loaded model."""
    return os.getpid(), int(session.model(path, Devices()).handle or 0)


def decode(session: Session, path: Path, _reporter: Reporter) -> float:
    model = session.model(path, Devices(n_threads=1))
    with opened_context(model, 256, 256) as context:
        return float(context.decode(Batch.of(TOKENS)).sum())


def decode_for_ever(session: Session, path: Path, reporter: Reporter) -> None:
    """Decodes without a word, after the first."""
    model = session.model(path, Devices(n_threads=1))
    with opened_context(model, 256, 256) as context:
        reporter.emit("begun")
        while True:
            context.clear()
            context.decode(Batch.of(TOKENS))


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        self.seen.append((step, total, unit))

    def advance(self, n: int, note: str = "") -> None:
        self.seen.append((n, note))


def is_alive(pid: int) -> bool:
    states = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return states.stdout.strip() not in ("", "Z", "Zs")


@pytest.mark.parametrize("runner", [Worker, InProcess])
def test_results_and_progress_come_back(runner: type[Worker] | type[InProcess]) -> None:
    watcher, results = Watcher(), list[str]()
    with runner() as opened:
        there: Runner = opened
        assert there.run(add, 2, 3, progress=watcher, on_result=results.append) == 5
        assert there.run(add, 4, 5) == 9
    assert watcher.seen == [("adding", 2, "terms"), (1, "one"), (1, "two")]
    assert results == ["half"]


def test_a_model_is_loaded_once_for_many_jobs(stories: Path) -> None:
    with Worker() as worker:
        first = worker.run(model_id, stories)
        assert worker.run(model_id, stories) == first
        assert worker.run(decode, stories) == worker.run(decode, stories)


def test_errors_come_back_whole_and_the_worker_goes_on() -> None:
    with Worker() as worker:
        with pytest.raises(MalformedFileError) as caught:
            worker.run(refuse)
        pid = worker.pid
        assert worker.run(add, 1, 1) == 2 and worker.pid == pid
    assert str(caught.value) == "m.gguf, at byte 7: is bad"
    assert (caught.value.offset, caught.value.hint) == (7, "mend it")


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGABRT, r"died in the job die \(SIGABRT\): GGML_ASSERT\(x\) failed"),
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGILL, "SIGILL"),
    ],
)
def test_a_death_names_the_job_and_no_file(number: int, told: str) -> None:
    with Worker() as worker:
        with pytest.raises(EngineError, match=told) as caught:
            worker.run(die, number)
        assert caught.value.exit_code == 9
        assert bool(caught.value.hint) == (number != signal.SIGABRT)
        assert worker.run(add, 1, 1) == 2, "the next job has a new process"


def test_a_file_is_to_blame_until_it_has_run(stories: Path, tmp_path: Path) -> None:
    with Worker() as worker:
        with pytest.raises(MalformedFileError, match=rf"{stories}: llama.cpp crashed on it"):
            worker.run(die_before_a_run, stories)
        other = tmp_path / "other.gguf"
        other.write_bytes(stories.read_bytes())
        with pytest.raises(MalformedFileError, match=rf"{other}: llama.cpp crashed on it"):
            worker.run(die_of_another, stories, other)
        with pytest.raises(EngineError, match="die_after_a_run"):
            worker.run(die_after_a_run, stories)


def test_a_bug_in_a_job_stays_a_bug() -> None:
    with Worker() as worker, pytest.raises(RuntimeError, match="ZeroDivisionError: a bug"):
        worker.run(stumble)


@pytest.mark.parametrize("kind", [BrokenPipeError, EOFError, RefusedError, KeyboardInterrupt])
def test_an_exception_in_the_caller_stops_the_job_alone(
    kind: type[BaseException], stories: Path
) -> None:
    """It is not taken for the death of the process, and the models stay loaded."""

    def interrupt(_: object) -> None:
        raise kind("mine")

    with Worker() as worker:
        before = worker.run(model_id, stories)
        with pytest.raises(kind, match="mine"):
            worker.run(count, 1_000_000, on_result=interrupt)
        results: list[int] = []
        assert worker.run(count, 3, on_result=results.append) == 3
        assert results == [0, 1, 2], "nothing of the stopped job is left over"
        assert worker.run(model_id, stories) == before


def test_a_decode_is_stopped_too(stories: Path) -> None:
    def interrupt(_: object) -> None:
        raise RefusedError("enough")

    with Worker() as worker:
        before = worker.run(model_id, stories)
        with pytest.raises(RefusedError):
            worker.run(decode_for_ever, stories, on_result=interrupt)
        assert worker.run(model_id, stories) == before


def test_leaving_the_block_ends_the_process_whatever_it_does() -> None:
    with Worker() as worker:
        thread = threading.Thread(target=_run_quietly, args=(worker,), daemon=True)
        thread.start()
        while worker.pid is None:
            time.sleep(0.01)
        pid = worker.pid
    assert not is_alive(pid)


def _run_quietly(worker: Worker) -> None:
    with suppress(EngineError, AssertionError, AttributeError):
        worker.run(sleep)


PARENT = """
import sys
from ggufsurgeon.engine.worker import Worker
from tests.engine.test_worker import sleep, count
with Worker() as worker:
    worker.run(count, 1)
    print(worker.pid, flush=True)
    worker.run(sleep)
"""


def test_the_process_is_gone_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent:
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    end = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_alive(pid)


def test_workers_run_side_by_side(stories: Path) -> None:
    with Worker() as one, Worker() as other:
        results = list[float]()
        threads = [
            threading.Thread(target=lambda w=w: results.append(w.run(decode, stories)))
            for w in (one, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.pid != other.pid and len(results) == 2 and results[0] == results[1]


def test_use_after_the_block_is_an_error_and_no_crash(stories: Path) -> None:
    with loaded_model(stories, Devices()) as model:
        with opened_context(model, 256, 256) as context:
            context.decode(Batch.of(TOKENS))
        with pytest.raises(UsageError, match="closed"):
            context.decode(Batch.of(TOKENS))
        with pytest.raises(UsageError, match="closed"):
            context.clear()
    for use in (lambda: model.tokenize(b"x"), lambda: model.text_of(5), lambda: model.no_text):
        with pytest.raises(UsageError, match="no longer loaded"):
            use()
    with pytest.raises(UsageError, match="no longer loaded"), opened_context(model, 8, 8):
        pass
