"""Running the program as somebody whom permissions bind, though tests may run as root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import is_root

POWERS = "-dac_override,-dac_read_search"


def powerless_prefix() -> tuple[str, ...]:
    """What to put before a command to take the power of root to ignore permissions away."""
    if not is_root():
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root ignores permissions, and setpriv is not here to take that power away")
    return ("setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}")


def run_powerless(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The program, without the power of root to ignore permissions."""
    command = [*powerless_prefix(), sys.executable, "-m", "ggufsurgeon", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
