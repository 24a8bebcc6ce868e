"""Scans over a Dask cluster of real processes give what one process gives, whatever dies."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")
pytest.importorskip("distributed", reason="needs the dask extra")

from tests.cli.failing import assert_told
from tests.clusters.cluster import WITHOUT_US, Cluster, cluster, need_namespaces
from tests.conftest import ROOT, Run
from tests.engine.serving import free_port
from tests.interrupts import children, started
from tests.scanning.test_scan import scores_in
from tests.workers.jobs import comes_true

FEW = ("--arithmetic", "24", "--windows", "0..4:1", "--threads", "1")
MANY = ("--arithmetic", "480", "--windows", "0..4:1", "--threads", "1")


@pytest.fixture
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as one:
        yield one


@pytest.fixture(scope="module")
def few(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scanned_here(stories, tmp_path_factory.mktemp("few") / "scan.db", FEW)


@pytest.fixture(scope="module")
def many(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scanned_here(stories, tmp_path_factory.mktemp("many") / "scan.db", MANY)


def scanned_here(model: Path, store: Path, options: tuple[str, ...]) -> Path:
    subprocess.run(scan_command(model, store, *options), cwd=ROOT, check=True, capture_output=True)
    return store


def scan_command(model: Path, store: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "ggufsurgeon", "scan", str(model), "--store", str(store)),
        *options,
    ]


def n_scores(store: Path) -> int:
    return len(scores_in(store)) if store.exists() and store.stat().st_size > 4096 else 0


def wait_for_a_line(scan: subprocess.Popen[bytes]) -> None:
    """Wait until a scan has printed another result."""
    assert scan.stdout is not None and scan.stdout.readline()


@pytest.mark.slow
def test_whatever_dies_or_joins_the_store_is_that_of_one_process(
    dask: Cluster, stories: Path, many: Path, tmp_path: Path
) -> None:
    """A worker is killed, llama.cpp's process on another aborts, and a third joins late."""
    store = tmp_path / "scan.db"
    killed, crashing = dask.add_worker(), dask.add_worker()
    command = scan_command(stories, store, *MANY, "--scheduler", dask.address, "--json")
    with started(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as scan:
        for _ in range(12):
            wait_for_a_line(scan)
        (hosted,) = children(killed.pid)
        os.kill(hosted, signal.SIGSTOP)  # so that it has a part that it cannot end
        time.sleep(1)
        killed.kill()
        (aborting,) = children(crashing.pid)
        os.kill(aborting, signal.SIGABRT)
        late = dask.add_worker()
        assert comes_true(lambda: bool(children(late.pid)), 60)
        _, told = scan.communicate(timeout=300)
        assert scan.returncode == 0, told
    os.kill(hosted, signal.SIGCONT)
    assert scores_in(store) == scores_in(many)
    assert crashing.poll() is None and late.poll() is None
    lines = told.decode().splitlines()
    assert sum(line.endswith("has joined") for line in lines) == 3
    assert sum(line.endswith("has left") for line in lines) == 1
    assert "Traceback" not in told.decode() and "distributed" not in told.decode()
    assert comes_true(lambda: not children(crashing.pid) and not children(late.pid), 20)


@pytest.mark.slow
def test_a_scheduler_that_vanishes_ends_a_scan_that_goes_on_later(
    dask: Cluster, stories: Path, many: Path, tmp_path: Path, surgeon: Run
) -> None:
    store = tmp_path / "scan.db"
    dask.add_worker()
    command = scan_command(stories, store, *MANY, "--scheduler", dask.address, "--json", "--quiet")
    with started(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as scan:
        wait_for_a_line(scan)
        dask.scheduler.kill()
        told = scan.communicate(timeout=90)[1].decode()
    assert scan.returncode == 2, told
    assert told.startswith(f"error: the Dask scheduler at {dask.address} is lost")
    assert f"{store} keeps all scores so far." in told and len(told.splitlines()) == 3
    assert 0 < len(scores_in(store)) < len(scores_in(many))
    assert surgeon("scan", stories, "--store", store, *MANY).returncode == 0
    assert scores_in(store) == scores_in(many)


@pytest.mark.slow
def test_an_interrupted_scan_frees_its_workers_and_goes_on(
    dask: Cluster, stories: Path, many: Path, tmp_path: Path
) -> None:
    store = tmp_path / "scan.db"
    worker = dask.add_worker()
    command = scan_command(stories, store, *MANY, "--scheduler", dask.address, "--json")
    with started(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as scan:
        wait_for_a_line(scan)
        scan.send_signal(signal.SIGINT)
        told = scan.communicate(timeout=60)[1].decode()
    assert scan.returncode == 128 + signal.SIGINT, told
    assert "error: interrupted by SIGINT" in told and "Traceback" not in told
    assert comes_true(lambda: not children(worker.pid), 20) and worker.poll() is None
    assert 0 < len(scores_in(store)) < len(scores_in(many))
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert scores_in(store) == scores_in(many)


def test_a_scan_waits_for_its_first_worker(
    dask: Cluster, stories: Path, few: Path, tmp_path: Path
) -> None:
    store = tmp_path / "scan.db"
    command = scan_command(stories, store, *FEW, "--scheduler", dask.address)
    with started(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as scan:
        assert scan.stderr is not None
        told = scan.stderr.readline()
        assert told == f"no worker has joined {dask.address} yet: waiting for one\n"
        dask.add_worker()
        scan.communicate(timeout=120)
        assert scan.returncode == 0
    assert scores_in(store) == scores_in(few)


def test_a_scheduler_that_is_down(stories: Path, surgeon: Run) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    done = surgeon("scan", stories, "--store", "scan.db", *FEW, "--scheduler", address)
    assert_told(done, 2, f"no Dask scheduler answers at {address}")


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1:1"])
def test_an_address_that_is_none(stories: Path, surgeon: Run, address: str) -> None:
    done = surgeon("scan", stories, "--store", "scan.db", *FEW, "--scheduler", address)
    assert_told(done, 2, f"'{address}' is not the address of a Dask scheduler")


@pytest.mark.slow
def test_a_server_that_says_nothing(stories: Path, surgeon: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        done = surgeon("scan", stories, "--store", "scan.db", *FEW, "--scheduler", address)
    assert_told(done, 2, f"no Dask scheduler answers at {address}")


def test_a_scheduler_of_another_version(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    """It says that it is of another release; Dask itself would go on."""
    program = "from distributed import versions\n"
    program += "versions.get_package_info = lambda _packages: {'distributed': '2020.1.0'}\n"
    program += "from distributed.cli.dask_scheduler import main; main()"
    port = free_port()
    command = [sys.executable, "-c", program, "--port", str(port), "--no-dashboard"]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        address = f"tcp://127.0.0.1:{port}"
        done = surgeon("scan", stories, "--store", "scan.db", *FEW, "--scheduler", address)
    assert_told(done, 2, f"the Dask scheduler at {address} has distributed 2020.1.0")


def test_without_the_package_the_install_command_is_named(
    stories: Path, surgeon: Run, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden/distributed.py"
    hidden.parent.mkdir()
    hidden.write_text("raise ImportError('no such package')")
    environment = os.environ | {"PYTHONPATH": f"{hidden.parent}{os.pathsep}{ROOT}"}
    options = ("--store", "scan.db", *FEW, "--scheduler", "tcp://127.0.0.1:1")
    done = surgeon("scan", stories, *options, env=environment)
    assert_told(done, 8, "pip install 'ggufsurgeon[dask]'")


class TestWorkersThatDoNotFit:
    """They see other files than the scan, by mounts of their own, or lack the program."""

    def test_without_the_program(
        self, dask: Cluster, model: Path, few: Path, surgeon: Run, tmp_path: Path
    ) -> None:
        """Also when they join before all others."""
        dask.add_worker(program=("-c", WITHOUT_US.format("worker")))
        options = ("--store", "scan.db", *FEW, "--scheduler", dask.address)
        done = surgeon("scan", model, *options, "--quiet")
        assert_told(done, 2, f"no worker of {dask.address} can run this: it cannot import")
        dask.add_worker()
        done = surgeon("scan", model, *options)
        assert done.returncode == 0 and "is excluded: it cannot import" in done.stderr
        assert scores_in(tmp_path / "scan.db") == scores_in(few)

    def test_without_the_model(self, dask: Cluster, model: Path, surgeon: Run) -> None:
        need_namespaces()
        dask.add_worker(unshared=f"mount -t tmpfs none {model.parent}")
        done = surgeon(
            "scan", model, "--store", "scan.db", *FEW, "--scheduler", dask.address, "--quiet"
        )
        assert_told(done, 2, f"{model} is not there, and no folder of GGUFSURGEON_MODELS has")
        assert "no worker of" in done.stderr

    def test_with_the_model_elsewhere(
        self, dask: Cluster, model: Path, few: Path, surgeon: Run, tmp_path: Path
    ) -> None:
        """It is found by its fingerprint among others."""
        need_namespaces()
        copies = tmp_path / "copies/deep"
        copies.mkdir(parents=True)
        shutil.copy(model, copies / "a copy.gguf")
        other = bytearray(model.read_bytes())
        other[-1] ^= 1
        (copies / "a.gguf").write_bytes(other)
        dask.add_worker(
            unshared=f"mount -t tmpfs none {model.parent}",
            environment={"GGUFSURGEON_MODELS": f"/nowhere:{copies.parent}"},
        )
        done = surgeon("scan", model, "--store", "scan.db", *FEW, "--scheduler", dask.address)
        assert done.returncode == 0, done.stderr
        assert scores_in(tmp_path / "scan.db") == scores_in(few)

    def test_with_another_model_under_the_same_path(
        self, dask: Cluster, model: Path, few: Path, surgeon: Run, tmp_path: Path
    ) -> None:
        need_namespaces()
        other = tmp_path / "other.gguf"
        content = bytearray(model.read_bytes())
        content[-1] ^= 1
        other.write_bytes(content)
        dask.add_worker(unshared=f"mount --bind {other} {model}")
        dask.add_worker()
        done = surgeon("scan", model, "--store", "scan.db", *FEW, "--scheduler", dask.address)
        assert done.returncode == 0, done.stderr
        assert f"is excluded: {model} is another model file" in done.stderr
        assert scores_in(tmp_path / "scan.db") == scores_in(few)

    def test_whose_content_differs_in_one_weight(
        self, dask: Cluster, model: Path, surgeon: Run, tmp_path: Path
    ) -> None:
        """Outside the sample of the fingerprint: the hash of the whole file tells."""
        need_namespaces()
        other = tmp_path / "other.gguf"
        content = bytearray(model.read_bytes())
        content[-5000] ^= 1
        other.write_bytes(content)
        dask.add_worker(unshared=f"mount --bind {other} {model}")
        options = (*FEW, "--scheduler", dask.address, "--quiet", "--hash")
        done = surgeon("scan", model, "--store", "scan.db", *options)
        assert_told(done, 2, f"{model} is another model file")

    def test_whose_cpu_may_round_differently(
        self, dask: Cluster, model: Path, few: Path, surgeon: Run, tmp_path: Path
    ) -> None:
        """Of two kinds, the one that the store has scores of goes on; the other is excluded."""
        need_namespaces()
        fake = tmp_path / "cpuinfo"
        fake.write_text("model name\t: Another CPU\n")
        own = dask.add_worker()
        for _ in range(2):
            dask.add_worker(unshared=f"mount --bind {fake} /proc/cpuinfo")
        store = tmp_path / "scan.db"
        shutil.copy(few, store)
        paths = [f"{first},{second}" for first in range(4) for second in range(4)]
        more = [word for path in paths for word in ("--layers", path)]  # a part for each worker
        options = ("--store", "scan.db", *FEW, *more, "--scheduler", dask.address)
        done = surgeon("scan", model, *options)
        assert done.returncode == 0, done.stderr
        assert "is excluded: it may round differently: its CPU is Another CPU" in done.stderr
        n_scores = len(scores_in(few)) + 24 * len(paths)
        assert len(scores_in(store)) == n_scores
        own.kill()
        done = surgeon("scan", model, *options)
        assert done.returncode == 0, done.stderr
        assert "the store has 1 other scan by this probe" in done.stderr
        assert len(scores_in(store)) == 2 * n_scores


@pytest.fixture
def model(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in a folder of its own."""
    path = tmp_path_factory.mktemp("models") / "model.gguf"
    return Path(shutil.copy(stories, path))
