"""A Dask cluster on loopback: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.engine.serving import free_port

START_SECONDS = 120
QUIET = ("--no-dashboard", "--host", "127.0.0.1")
WITHOUT_US = """
import sys
sys.modules["ggufsurgeon"] = None
from distributed.cli.dask_{} import main
main()
"""
"""A program of Dask that cannot import ggufsurgeon, whose scheduler need not."""
WORKER = ("-m", "distributed.cli.dask_worker")


class Cluster:
    """A scheduler, and the workers that are started for it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._n_workers = 0
        self.address = f"tcp://127.0.0.1:{free_port()}"
        port = self.address.rpartition(":")[2]
        self.scheduler = self._start(
            "scheduler", ["-c", WITHOUT_US.format("scheduler"), *QUIET, "--port", port]
        )
        self._wait(lambda: "Scheduler at" in self.log("scheduler"))

    def add_worker(
        self,
        *,
        program: Sequence[str] = WORKER,
        unshared: str = "",
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; `unshared` are commands that alter the files it sees."""
        self._n_workers += 1
        name = f"worker{self._n_workers}"
        process = self._start(
            name,
            [*program, self.address, *QUIET, "--nthreads", "1", "--no-nanny"],
            unshared,
            environment,
        )
        self._wait(lambda: "Registered to" in self.log(name))
        return process

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self._folder / f"{name}.log").read_text()

    def _start(
        self,
        name: str,
        arguments: Sequence[str],
        unshared: str = "",
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, *arguments]
        if unshared:
            command = ["unshare", "-m", "sh", "-ec", f"{unshared}\nexec {shlex.join(command)}"]
        variables = {"PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "info"}
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            command,
            cwd=self._folder,
            env=os.environ | variables | (environment or {}),
            stdout=log,
            stderr=log,
        )
        self._stack.callback(_end, process)
        return process

    def _wait(self, is_there: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while not is_there():
            assert time.monotonic() < end, "the cluster does not start"
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A scheduler without workers, whose logs are in a folder."""
    with ExitStack() as stack:
        yield Cluster(stack, folder)


def need_namespaces() -> None:
    """Skip where a process cannot have mounts of its own."""
    try:
        done = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    except OSError:
        pytest.skip("needs unshare(1)")
    if done.returncode:
        pytest.skip("mounts of one's own are not allowed here")
