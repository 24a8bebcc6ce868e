"""The scripts that install, where there is no compiler, no network or no memory for the build."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from shutil import copy, copytree, which

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

TOOLS = (
    *("bash", "cat", "cut", "dirname", "env", "grep", "head", "mktemp", "rm", "sed", "tail"),
    *("touch", "uname"),
)
VERSION = "0.3.36"
METADATA = f"Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: {VERSION}\n"
BACKEND = """
import os, sys
def build_wheel(*_):
    print("jobs at once:", os.environ["CMAKE_BUILD_PARALLEL_LEVEL"])
    print("compiling\\n" * 500)
    sys.exit(os.environ["SAYS"])
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this repository as far as it is installed, with an empty .venv."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("scripts", "ggufsurgeon"):
        copytree(ROOT / name, folder / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy(ROOT / name, folder)
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    return folder


def run(checkout: Path, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script where pip sees no index, no cache and no settings."""
    tools = checkout / "tools"
    tools.mkdir(exist_ok=True)
    for name in TOOLS:
        program = which(name)
        assert program, name
        (tools / name).unlink(missing_ok=True)
        (tools / name).symlink_to(program)
    pip = {
        "PIP_NO_INDEX": "1",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return subprocess.run(
        script.split(),
        cwd=checkout,
        env={"PATH": str(tools), "HOME": str(checkout), **pip, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_short(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) < 12 and done.stderr.count("error:") == 1, done.stderr


@pytest.mark.parametrize(
    "script", ["scripts/quickstart", "scripts/setup llama", "scripts/test --fast", "scripts/check"]
)
def test_without_a_compiler_it_says_what_to_install(checkout: Path, script: str) -> None:
    done = run(checkout, script)
    assert_short(done)
    assert "no working C compiler (tried cc gcc clang)" in done.stderr
    for told in ("apt-get install build-essential", "dnf install", "xcode-select", "pip install ."):
        assert told in done.stderr
    assert "inspect, plan, patch and the structural checks of verify work" in done.stderr


@pytest.mark.parametrize("name", ["CC", "CXX"])
def test_a_compiler_that_does_not_work(checkout: Path, name: str) -> None:
    done = run(checkout, "scripts/setup llama", PATH=os.environ["PATH"], **{name: "/bin/false"})
    assert_short(done)
    assert f"(tried {name}=/bin/false)" in done.stderr


def test_a_wheel_at_hand_needs_no_compiler(checkout: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / f"llama_cpp_python-{VERSION}-py3-none-any.whl", "w") as wheel:
        folder = f"llama_cpp_python-{VERSION}.dist-info"
        wheel.writestr(f"{folder}/METADATA", METADATA)
        wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{folder}/RECORD", "")
    done = run(checkout, "scripts/setup llama", PIP_FIND_LINKS=str(tmp_path))
    assert_short(done)
    assert "compiler" not in done.stderr
    assert "No matching distribution found" in done.stderr  # of what else is needed


def test_the_extras_that_run_no_model_need_no_compiler(checkout: Path) -> None:
    done = run(checkout, "scripts/setup plot")
    assert_short(done)
    assert "compiler" not in done.stderr


def test_what_is_installed_is_not_installed_again(checkout: Path) -> None:
    """Until other extras are asked for, or pyproject.toml has changed."""
    installed, project = checkout / ".venv/installed", checkout / "pyproject.toml"
    installed.write_text("plot\nhub\n")
    os.utime(project, (0, 0))
    assert run(checkout, "scripts/setup hub,plot").returncode == 0
    assert_short(run(checkout, "scripts/setup hub,plo"))
    assert run(checkout, "scripts/setup plot").returncode == 0
    os.utime(project)
    assert_short(run(checkout, "scripts/setup plot"))
    assert not installed.exists()


def test_an_index_that_cannot_be_reached(checkout: Path) -> None:
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_NO_INDEX": "0", "PIP_RETRIES": "1"}
    done = run(checkout, "scripts/pip_install llama-cpp-python", **index)
    assert_short(done)
    assert "the package index cannot be reached" in done.stderr and "HTTPS_PROXY" in done.stderr


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("c++: fatal error: Killed signal terminated program cc1plus", "memory ran out"),
        ("ld: final link failed: No space left on device", "the disk is full"),
        ("CMake Error at CMakeLists.txt:7: no such backend", "CMake Error at CMakeLists.txt:7"),
    ],
)
def test_a_build_that_fails_is_told_in_a_few_lines(
    checkout: Path, tmp_path: Path, says: str, told: str
) -> None:
    put_source(tmp_path)
    env = {"PIP_FIND_LINKS": str(tmp_path), "SAYS": says}
    done = run(checkout, "scripts/pip_install llama-cpp-python", **env)
    assert_short(done)
    assert told in done.stderr
    log = checkout / ".venv/install.log"
    assert str(log) in done.stderr
    assert "jobs at once: " in log.read_text() and log.read_text().count("compiling") >= 500


def put_source(folder: Path) -> None:
    """A source distribution whose build fails."""
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    with tarfile.open(folder / f"llama_cpp_python-{VERSION}.tar.gz", "w:gz") as archive:
        for name, text in (
            ("pyproject.toml", project),
            ("backend.py", BACKEND),
            ("PKG-INFO", METADATA),
        ):
            info = tarfile.TarInfo(f"llama_cpp_python-{VERSION}/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
