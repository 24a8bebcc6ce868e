"""llama.cpp's log, read by line."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.installation.library import log_read_by
from ggufsurgeon.engine.model import Devices, loaded_model


def load(path: Path) -> None:
    with loaded_model(path, Devices()):
        pass


def test_a_reader_has_the_lines_of_its_own_thread(stories: Path) -> None:
    """Two loads at once do not take each other's lines for theirs."""
    lines: list[str] = []
    thread = threading.Thread(target=load, args=(stories,))
    with log_read_by(lines.append):
        thread.start()
        thread.join()
        assert lines == []
        load(stories)
    assert any("loading model tensors" in line for line in lines)
