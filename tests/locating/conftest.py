"""What tests of names share: the program in a home of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run

Named = Callable[..., "subprocess.CompletedProcess[str]"]
VARIABLES = ("HF_", "HUGGINGFACE", "XDG_CACHE", "LLAMA_CACHE", "OLLAMA_")
SECONDS = "2"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def named(surgeon: Run, home: Path) -> Named:
    """Run the program with a home that is empty, and with more variables of the environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(VARIABLES)}
    quick = {"HF_HUB_ETAG_TIMEOUT": SECONDS, "HF_HUB_DOWNLOAD_TIMEOUT": SECONDS}

    def run(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        return surgeon(*arguments, env={**kept, **quick, "HOME": str(home), **env})

    return run
