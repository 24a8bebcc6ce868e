"""Scans over executors of the standard library, and what becomes of requests that fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.clusters import hosting
from ggufsurgeon.clusters.executor_runner import ExecutorRunner
from ggufsurgeon.clusters.hosting import run_request
from ggufsurgeon.clusters.requests import NeededModel, packed, unpacked
from ggufsurgeon.clusters.sending import N_ATTEMPTS, SMALL_N_BYTES
from ggufsurgeon.errors import EngineError, UnfitWorkerError, UsageError
from ggufsurgeon.scanning.probes.arithmetic import ArithmeticProbe
from ggufsurgeon.scanning.probes.arithmetic_answers import ArithmeticAnswerProbe
from ggufsurgeon.scanning.probes.text import TextProbe
from ggufsurgeon.scanning.racing.race import Race
from ggufsurgeon.scanning.scan import ScanSize
from tests.clusters.jobs import die_once_a_file, echo
from tests.conftest import ROOT
from tests.interrupts import children
from tests.scanning.test_scan import PATHS, TEXT, FailingProbe, scores_in
from tests.workers.jobs import add, comes_true, die, stumble

ONE_THREAD = gs.Devices(n_threads=1)


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=context) as processes:
            yield processes


def test_scores_are_those_of_one_process(executor: Executor, stories: Path, tmp_path: Path) -> None:
    """Of each kind of probe, in a race too; a text is not sent with every request."""
    text = TextProbe(TEXT * 10, 64, 11)
    assert len(text.text) > SMALL_N_BYTES
    with gs.load(stories, ONE_THREAD) as model:
        for name, where in {"here": None, "there": executor}.items():
            store = tmp_path / f"{name}.db"
            model.scan(store, text, PATHS, executor=where)
            model.scan(store, ArithmeticAnswerProbe(10), PATHS[:2], executor=where)
            model.scan(store, ArithmeticProbe(24), PATHS, race=Race(), executor=where)
    assert scores_in(tmp_path / "here.db") == scores_in(tmp_path / "there.db")
    with closing(sqlite3.connect(tmp_path / "there.db")) as database:
        assert database.execute("SELECT count(*) FROM lease").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM machine").fetchone() == (1,)


def test_a_search_finds_the_same(executor: Executor, stories: Path, tmp_path: Path) -> None:
    probe, windows = ArithmeticProbe(24), [gs.repeat("1:3"), gs.repeat("3:4"), gs.drop("2:3")]
    found = {}
    with gs.load(stories, ONE_THREAD) as model:
        for name, where in {"here": None, "there": executor}.items():
            store = tmp_path / f"{name}.db"
            model.scan(store, probe, windows, executor=where)
            found[name] = model.search(store, probe, max_blocks=3, executor=where)
    assert found["here"] == found["there"]
    assert scores_in(tmp_path / "here.db") == scores_in(tmp_path / "there.db")


def test_what_is_known_is_not_run_again(stories: Path, tmp_path: Path) -> None:
    sizes: list[ScanSize] = []
    with gs.load(stories, ONE_THREAD) as model, ThreadPoolExecutor(2) as executor:
        for where in (None, executor):
            model.scan(
                tmp_path / "scan.db",
                ArithmeticProbe(8),
                PATHS,
                executor=where,
                on_size=sizes.append,
            )
    assert [size.n_passes for size in sizes] == [len(PATHS) + 1, 0]


def test_a_probe_that_fails_ends_the_scan(stories: Path, tmp_path: Path) -> None:
    with gs.load(stories, ONE_THREAD) as model, ThreadPoolExecutor(2) as executor:
        with pytest.raises(UsageError, match=r"failed on item 'chunk 2' along 0..4") as told:
            model.scan(tmp_path / "scan.db", FailingProbe("score"), PATHS, executor=executor)
        assert told.value.state == f"{tmp_path / 'scan.db'} keeps all scores so far."
        model.scan(tmp_path / "scan.db", ArithmeticProbe(4), PATHS, executor=executor)


def test_an_executor_and_a_scheduler_exclude_each_other(stories: Path, tmp_path: Path) -> None:
    both = {"executor": ThreadPoolExecutor(1), "scheduler": "tcp://127.0.0.1:1"}
    with gs.load(stories) as model, pytest.raises(UsageError, match="exclude each other"):
        model.scan(tmp_path / "scan.db", ArithmeticProbe(4), PATHS, **both)  # type: ignore[arg-type]


def test_an_executor_that_was_shut_down(stories: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        pass
    with gs.load(stories) as model, pytest.raises(UsageError, match="executor was shut down"):
        model.scan(tmp_path / "scan.db", ArithmeticProbe(4), PATHS, executor=executor)


class AtOnce(Executor):
    """Runs a call when it is submitted."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


class TestRequests:
    """Of jobs that do what models make llama.cpp do."""

    @pytest.fixture
    def runner(self) -> Iterator[ExecutorRunner]:
        with ThreadPoolExecutor(2) as executor, ExecutorRunner(executor, []) as one:
            yield one

    def test_a_job_runs_and_emits(self, runner: ExecutorRunner) -> None:
        assert runner.run(add, 1, 2) == 3

    def test_a_process_that_dies_is_replaced(self, runner: ExecutorRunner, tmp_path: Path) -> None:
        assert runner.run(die_once_a_file, tmp_path, N_ATTEMPTS - 1) == N_ATTEMPTS - 1

    def test_a_job_that_kills_every_process_ends(self, runner: ExecutorRunner) -> None:
        with pytest.raises(EngineError, match=r"died in the job requested_job \(SIGABRT\)"):
            runner.run(die, signal.SIGABRT)
        assert runner.run(add, 1, 2) == 3

    def test_a_bug_stays_a_bug(self, runner: ExecutorRunner) -> None:
        with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug"):
            runner.run(stumble)

    def test_parts_that_ended_before_a_failure_are_given(self) -> None:
        """Also where they come at the same time as the failure."""
        ended: list[int] = []
        with (
            AtOnce() as executor,
            ExecutorRunner(executor, []) as runner,
            pytest.raises(UsageError, match="number 3"),
        ):
            runner.run_each(echo, (3,), iter(range(6)), lambda _: None, ended.extend)
        assert ended == [0, 1, 2]

    def test_what_cannot_be_sent_is_said(self, runner: ExecutorRunner) -> None:
        with pytest.raises(UsageError, match="cannot be sent to workers"):
            runner.run(add, lambda: 1, 2)

    def test_processes_end_with_the_runner(self) -> None:
        with ThreadPoolExecutor(2) as executor:
            with ExecutorRunner(executor, []) as runner:
                before = set(children(os.getpid()))
                for _ in range(3):
                    runner.run(add, 1, 2)
                own = set(children(os.getpid())) - before
                assert len(own) == 1, "the same process runs one job after the other"
            assert comes_true(lambda: not own & set(children(os.getpid())), 10)


def test_a_process_that_nobody_asks_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runner may have been killed with its machine."""
    monkeypatch.setattr(hosting, "IDLE_S", 0.5)
    with ThreadPoolExecutor(1) as executor, ExecutorRunner(executor, []) as runner:
        before = set(children(os.getpid()))
        runner.run(add, 1, 2)
        own = set(children(os.getpid())) - before
        assert comes_true(lambda: not own & set(children(os.getpid())), 20)
        assert runner.run(add, 1, 3) == 4


def test_another_version_of_the_program_does_not_fit() -> None:
    with pytest.raises(UnfitWorkerError, match=r"it has ggufsurgeon .*, and the caller 0\.0\.1"):
        run_request("0.0.1", b"")


def test_models_are_found_wherever_they_are_in_arguments(tmp_path: Path) -> None:
    here, there = tmp_path / "a.gguf", Path("/else/where.gguf")
    value = {"deep": [(here, 1), {"path": here}], "other": tmp_path}
    expected = {"deep": [(there, 1), {"path": there}], "other": tmp_path}
    assert unpacked(packed(value, [here]), [there]) == expected


def test_a_relative_path_is_that_of_the_caller(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # where the worker finds the job
    monkeypatch.chdir(stories.parent)
    needed = NeededModel.of(Path(stories.name))
    with ThreadPoolExecutor(1) as executor, ExecutorRunner(executor, [needed]) as runner:
        monkeypatch.chdir(tmp_path)
        assert runner.run(echo, None, [Path(stories.name)]) == str(stories)
