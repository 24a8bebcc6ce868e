"""What an interrupted command says of its files is what they are."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.output.interruption import telling_of
from ggufsurgeon.cli.patching.verified import telling_that_it_is_written


def test_a_file_whose_proof_is_interrupted_is_written() -> None:
    with pytest.raises(Interrupted) as found, telling_that_it_is_written(Path("new.gguf")):
        raise Interrupted(signal.SIGINT)
    assert found.value.state == "new.gguf was written, but not proven."


@pytest.mark.parametrize("name", ["new.gguf", "new-00001-of-00002.gguf"])
def test_a_file_that_has_appeared_is_complete(tmp_path: Path, name: str) -> None:
    """A signal can come once the file has its name, and before the command ends."""
    with pytest.raises(Interrupted) as found, telling_of(tmp_path / "new.gguf"):
        (tmp_path / name).touch()
        raise Interrupted(signal.SIGINT)
    assert found.value.state == "The destination is written and complete."


def test_a_file_that_was_replaced_is_complete(tmp_path: Path) -> None:
    (tmp_path / "new.gguf").write_text("old")
    with pytest.raises(Interrupted) as found, telling_of(tmp_path / "new.gguf"):
        (tmp_path / "other").write_text("new")
        (tmp_path / "other").rename(tmp_path / "new.gguf")
        raise Interrupted(signal.SIGINT)
    assert found.value.state == "The destination is written and complete."


def test_other_files_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "new.gguf").write_text("old")
    with pytest.raises(Interrupted) as found, telling_of(tmp_path / "new.gguf"):
        (tmp_path / "new-00001-of-00002.txt").touch()
        (tmp_path / "newer-00001-of-00002.gguf").touch()
        raise Interrupted(signal.SIGINT)
    assert found.value.state == "The destination is unchanged."
