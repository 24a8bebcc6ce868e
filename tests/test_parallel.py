"""Parallel processes of pytest keep modules whole, as `scripts/test` starts them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.conftest import APART, ROOT

pytestmark = pytest.mark.slow

MODULES = ("tests/docs/test_fences.py", "tests/docs/test_errors_page.py")


def test_a_module_stays_in_one_process() -> None:
    script = (ROOT / "scripts/test").read_text("utf-8")
    options = re.findall(r"--dist \w+|--no-[\w-]+", script)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--numprocesses=2"]
    done = subprocess.run(
        [*command, *" ".join(options).split(), *MODULES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    processes = defaultdict(set)
    for process, module in re.findall(r"^\[(gw\d)\].* (tests/\S+?)::", done.stdout, re.MULTILINE):
        processes[module].add(process)
    assert processes.keys() == set(MODULES)
    assert all(len(found) == 1 for found in processes.values()), processes


def test_modules_that_are_taken_apart_are_there() -> None:
    assert all((ROOT / module).exists() for module in APART)
