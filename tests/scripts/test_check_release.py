"""The script that tries a release: the extras it knows, and packages that are missing."""

from __future__ import annotations

import runpy
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "scripts/check_release"
FOR_DEVELOPERS = {"dev", "docs", "fuzz"}


@pytest.fixture(scope="module")
def script() -> dict[str, object]:
    return runpy.run_path(str(SCRIPT))


def test_every_extra_of_users_can_be_tried(script: dict[str, object]) -> None:
    extras = metadata("ggufsurgeon").get_all("Provides-Extra") or []
    assert set(extras) - FOR_DEVELOPERS == set(script["PACKAGES"]) - {""}  # type: ignore[call-overload]


def test_an_unknown_extra_is_no_success() -> None:
    command = (sys.executable, SCRIPT, "plots")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("no such extra: plots. There are: llama serve")


def imported(script: dict[str, object], folder: Path, *packages: str) -> list[str]:
    """What the script's imports say, of a package of one module that needs absent_package."""
    package = folder / "ggufsurgeon"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "needy.py").write_text("import absent_package.part\n")
    command = (sys.executable, "-c", str(script["IMPORTS"]), *packages)
    return subprocess.run(
        command, cwd=folder, env={}, capture_output=True, text=True, check=True
    ).stdout.split()


def test_modules_that_miss_a_package_are_found(script: dict[str, object], tmp_path: Path) -> None:
    assert imported(script, tmp_path, "json") == ["absent_package"]


def test_a_package_of_the_extra_must_import(script: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        imported(script, tmp_path, "absent_package")
