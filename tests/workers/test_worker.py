"""Workers: jobs over models that stay loaded, progress, results, and jobs that are stopped."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon import errors
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import (
    EngineError,
    GgufSurgeonError,
    MalformedFileError,
    RefusedError,
    UsageError,
)
from ggufsurgeon.workers.runner import InProcess, Runner
from ggufsurgeon.workers.session import Reporter, Session
from ggufsurgeon.workers.worker import STOP_SECONDS, Worker
from tests.conftest import ROOT
from tests.interrupts import started
from tests.workers.jobs import (
    add,
    count,
    decode,
    decode_for_ever,
    fail,
    import_high_level,
    is_alive,
    model_id,
    read_standard_input,
    refuse,
    sleep,
)

ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GgufSurgeonError)
]
ONE_THREAD = Devices(n_threads=1)


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        self.seen.append((step, total, unit))

    def advance(self, n: int, note: str = "") -> None:
        self.seen.append((n, note))


@pytest.mark.parametrize("runner", [Worker, InProcess])
def test_results_and_progress_come_back(runner: type[Worker] | type[InProcess]) -> None:
    watcher, results = Watcher(), list[str]()
    with runner() as opened:
        there: Runner = opened
        assert there.run(add, 2, 3, progress=watcher, on_result=results.append) == 5
        assert there.run(add, 4, 5) == 9
    assert watcher.seen == [("adding", 2, "terms"), (1, "one"), (1, "two")]
    assert results == ["half"]


def test_high_level_classes_are_imported_when_they_are_needed(stories: Path) -> None:
    """They take as long to import as all else that a worker imports of llama-cpp-python."""
    with Worker() as worker:
        assert worker.run(import_high_level, stories) == (False, True, True)


def test_results_come_before_the_job_has_ended() -> None:
    """The job would sleep for a minute behind its first result."""

    class Enough(Exception):
        pass

    def stop(_: object) -> None:
        raise Enough

    started = time.monotonic()
    with Worker() as worker, pytest.raises(Enough):
        worker.run(emit_then_sleep, on_result=stop)
    assert time.monotonic() - started < 30


def emit_then_sleep(session: Session, reporter: Reporter) -> None:
    reporter.emit("first")
    sleep(session, reporter)


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


def test_every_class_of_error_comes_back() -> None:
    assert len(ERRORS) == 17
    with Worker() as worker:
        for kind in ERRORS:
            arguments = ("wrong", "bad") if issubclass(kind, MalformedFileError) else ("wrong",)
            error = kind(*arguments, hint="do")
            assert type(pickle.loads(pickle.dumps(error))) is kind
            with pytest.raises(kind, match="wrong") as caught:
                worker.run(fail, error)
            assert type(caught.value) is kind
            assert vars(caught.value).keys() == vars(error).keys()


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


def test_a_job_that_has_just_ended_can_be_stopped(stories: Path) -> None:
    """The request then crosses the job's last message; no job and no process is lost."""

    def interrupt(_: object) -> None:
        time.sleep(0.2)  # the job is over by now
        raise KeyError("mine")

    with Worker() as worker:
        before = worker.run(model_id, stories)
        started = time.monotonic()
        with pytest.raises(KeyError):
            worker.run(count, 1, on_result=interrupt)
        assert time.monotonic() - started < STOP_SECONDS
        assert worker.run(model_id, stories) == before


def test_a_decode_is_stopped_too(stories: Path) -> None:
    def interrupt(_: object) -> None:
        raise RefusedError("enough")

    with Worker() as worker:
        before = worker.run(model_id, stories)
        with pytest.raises(RefusedError):
            worker.run(decode_for_ever, stories, ONE_THREAD, on_result=interrupt)
        assert worker.run(model_id, stories) == before


CTRL_C = """
import sys
from pathlib import Path
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.workers.worker import Worker
from tests.workers.jobs import decode_for_ever, model_id
path = Path(sys.argv[1])
with Worker() as worker:
    before = worker.run(model_id, path)
    try:
        tell = lambda text: print(text, flush=True)
        worker.run(decode_for_ever, path, Devices(n_threads=1), on_result=tell)
    except KeyboardInterrupt:
        print(worker.run(model_id, path) == before)
"""


def test_ctrl_c_in_a_terminal_stops_the_job_alone(stories: Path) -> None:
    """A terminal sends SIGINT to the worker too."""
    command = [sys.executable, "-c", CTRL_C, str(stories)]
    pipe = subprocess.PIPE
    with started(command, cwd=ROOT, stdout=pipe, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "begun\n"
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.stdout.readline() == "True\n", "the same process and the same loaded model"
        assert parent.wait(30) == 0


def test_ctrl_c_while_the_process_starts_does_not_reach_it() -> None:
    with Worker() as worker:
        results: list[int] = []
        thread = threading.Thread(target=lambda: results.append(worker.run(add, 1, 1)))
        thread.start()
        while worker.pid is None:
            time.sleep(0.001)
        for _ in range(100):
            os.kill(worker.pid, signal.SIGINT)
            time.sleep(0.005)
        thread.join()
    assert results == [2]


def test_a_job_that_does_not_stop_is_killed_and_the_worker_says_so() -> None:
    def interrupt(_: object) -> None:
        raise KeyError("mine")

    with Worker() as worker:
        with pytest.raises(KeyError):
            worker.run(emit_then_sleep, on_result=interrupt)
        assert worker.pid is None
        with pytest.raises(EngineError, match="ended in an earlier job, emit_then_sleep"):
            worker.run(add, 1, 1)


def test_a_job_that_cannot_be_sent_or_imported_is_an_error_and_no_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Worker() as worker:
        worker.run(add, 1, 1)
        pid = worker.pid
        with pytest.raises(UsageError, match="cannot be sent"):
            worker.run(lambda _session, _reporter: None)
        monkeypatch.setattr(add, "__module__", "__main__")
        monkeypatch.setattr(sys.modules["__main__"], "add", add, raising=False)
        with pytest.raises(UsageError, match="cannot import this job"):
            worker.run(add, 1, 1)
        monkeypatch.undo()
        assert worker.run(add, 1, 1) == 2 and worker.pid == pid


def test_a_job_does_not_read_the_messages_for_the_worker() -> None:
    with Worker() as worker:
        assert worker.run(read_standard_input) == b""
        assert worker.run(add, 1, 1) == 2


def test_workers_run_side_by_side(stories: Path) -> None:
    """The death of one leaves the other as it was."""
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
        assert one.pid is not None
        os.kill(one.pid, signal.SIGKILL)
        with pytest.raises(EngineError):
            one.run(add, 1, 1)
        assert not is_alive(one.pid or 0) and other.run(decode, stories) == results[0]
