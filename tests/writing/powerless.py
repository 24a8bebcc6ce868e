"""Running the program as somebody whom permissions bind, though tests may run as root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import is_root

POWERS = "-dac_override,-dac_read_search"


def run_powerless(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The program, without the power of root to ignore permissions."""
    prefix = ["setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}"] if is_root() else []
    if prefix and shutil.which("setpriv") is None:
        pytest.skip("root ignores permissions, and setpriv is not here to take that power away")
    command = [*prefix, sys.executable, "-m", "ggufsurgeon", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
