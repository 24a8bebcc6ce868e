"""What is known of tasks before all of them are answered."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.calls import choose
from tests.conftest import ROOT
from tests.interrupts import started
from tests.multiple_choice.tasks import TASKS

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.multiple_choice.task_results import MultipleChoiceResult

pytestmark = pytest.mark.slow

STORIES = ROOT / "fixtures/stories260K.gguf"
JSONL = TASKS / "choices.jsonl"


def test_what_is_known_so_far(stories: Path) -> None:
    known: list[MultipleChoiceResult] = []
    (whole,) = choose(stories, JSONL, on_result=lambda so_far: known.extend(so_far.results()))
    assert [one.n_tasks for one in known] == list(range(1, 15))
    assert [one.is_partial for one in known] == [True] * 13 + [False]
    assert known[4].task_results == whole.task_results[:5]
    assert replace(known[-1], devices=whole.devices) == whole


def broken_off(seconds: float, *arguments: str | Path) -> tuple[str, str]:
    """What a command printed that got Ctrl-C after some seconds, and its messages."""
    command = [sys.executable, "-m", "ggufsurgeon", *arguments]
    pipe = subprocess.PIPE
    with started(command, stdout=pipe, stderr=pipe, text=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    told = (130, True) if "interrupted" in errors else (-signal.SIGINT, False)
    assert (process.returncode, "interrupted by SIGINT" in errors) == told, errors
    return printed, errors


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """5600 tasks, which are read in a second or two, and take half a minute."""
    path = tmp_path / "some.jsonl"
    path.write_text(JSONL.read_text() * 400)
    return path


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """14,000 tasks, which take a minute."""
    path = tmp_path / "many.jsonl"
    path.write_text(JSONL.read_text() * 1000)
    return path


@pytest.mark.parametrize("against", [(), ("--window", "1:3"), ("--base", STORIES)])
def test_ctrl_c_prints_what_is_known(some: Path, against: tuple[str | Path, ...]) -> None:
    for seconds in (3, 6, 12, 24, 48):  # how long it takes to read them depends on the machine
        printed, errors = broken_off(
            seconds, "choose", STORIES, "--tasks", some, *against, "--json"
        )
        assert "Traceback" not in errors
        if printed:
            break
    found = json.loads(printed)
    assert found["is_partial"] and 0 < found["n_tasks"] < found["n_tasks_in_all"] == 5600
    assert ("change" in found) == ("--window" in against)


@pytest.mark.parametrize(("command", "option"), [("choose", "--tasks"), ("perplexity", "--text")])
def test_ctrl_c_at_once_says_that_nothing_is_known(many: Path, command: str, option: str) -> None:
    for seconds in (0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5):  # until it is up, it ends without a word
        printed, errors = broken_off(seconds, command, STORIES, option, many)
        assert "Traceback" not in errors
        if "interrupted before the first" in errors:
            break
    assert printed == "" and "interrupted before the first" in errors
