"""The headers of fixtures/make_arch_headers.py are in the repository as it writes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_the_script_writes_what_is_committed(tmp_path: Path) -> None:
    script = ROOT / "fixtures/make_arch_headers.py"
    subprocess.run([sys.executable, script, tmp_path], check=True)
    written = sorted(tmp_path.iterdir())
    assert len(written) == 19
    for path in written:
        committed = ROOT / "fixtures/arch_headers" / path.name
        assert committed.read_bytes() == path.read_bytes(), path.name
