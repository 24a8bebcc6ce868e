"""A fork is the program as it is started from the command line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.forks import Forks
from tests.models.builders import llama_model

STARTED = {"timeout": 300}
"""With options, the program is started from the command line."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "model.gguf"),
        ("inspect", "bad.gguf"),
        ("plan", "model.gguf", "--window", "0:9"),
        ("patch", "model.gguf"),
        ("nonsense",),
        (),
    ],
)
def test_outputs_and_exit_codes_are_the_same(
    arguments: tuple[str, ...], surgeon: Run, tmp_path: Path
) -> None:
    (tmp_path / "model.gguf").write_bytes(llama_model(3))
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    fork, program = surgeon(*arguments), surgeon(*arguments, **STARTED)
    assert (fork.returncode, fork.stdout, fork.stderr) == (
        *(program.returncode, program.stdout, program.stderr),
    )
    assert fork.stdout or fork.stderr


def test_a_fork_has_the_environment_of_the_test(
    surgeon: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    narrow = surgeon("patch", "--help").stdout
    assert narrow == surgeon("patch", "--help", **STARTED).stdout
    monkeypatch.setenv("COLUMNS", "120")
    assert surgeon("patch", "--help").stdout != narrow


def test_other_modules_are_imported_by_a_new_python(
    surgeon: Run, stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rich.py").write_text("raise SystemExit('another rich')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "another rich" in surgeon("inspect", stories).stderr


def test_a_fork_that_takes_too_long_is_killed(stories: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the serve extra")
    with Forks() as forks:
        with pytest.raises(subprocess.TimeoutExpired):
            forks.run(["serve", str(stories), "--port", "0"], tmp_path, timeout=1)
        assert forks.run(["inspect", str(stories)], tmp_path).returncode == 0
