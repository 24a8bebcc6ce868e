"""`perplexity` against a base, as a user sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.failing import Unchanged, assert_told
from tests.conftest import ROOT, Run
from tests.interrupts import started
from tests.pinned import assert_logits_file

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.verification.model_runs.model_run import shakespeare

pytestmark = pytest.mark.slow

TOOLS_BASE = ROOT / "fixtures/stories260K.ctx64.base"
STORIES = ROOT / "fixtures/stories260K.gguf"
SHORT = ("--text", "prose.txt", "--ctx", "64", "--chunks", "4")
WINDOW = ("--window", "1:3")


@pytest.fixture(autouse=True)
def prose(tmp_path: Path) -> None:
    (tmp_path / "prose.txt").write_bytes(shakespeare() + b"\n")


def test_tables(stories: Path, surgeon: Run) -> None:
    done = surgeon("perplexity", stories, *SHORT, *WINDOW)
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "along 0..2,1..4",
        "77.81",
        "19.54",
        "58.01",
        "Divergence from",
        "KL divergence",
        "99.9 %",
        "median",
        "over 4 chunks; +0.293",
        "is more than twice the larger: not noise",
    ):
        assert part in done.stdout, part


def test_noise_is_called_noise(stories: Path, surgeon: Run) -> None:
    """Some paths hardly differ in 124 tokens; a model does not differ from itself."""
    for path, word in (
        ("0..3,3..4", "is less than twice the larger: noise"),
        ("0..4", "+0.0000 is no difference"),
    ):
        done = surgeon("perplexity", stories, *SHORT, "--layers", path)
        assert word in done.stdout


def test_json(stories: Path, surgeon: Run) -> None:
    told = json.loads(surgeon("perplexity", stories, *SHORT, *WINDOW, "--json").stdout)
    assert told["layer_path"] == "0..2,1..4"
    assert told["perplexity_ratio"] == told["divergence"]["ratio"]["value"]
    assert told["base"]["perplexity"] == pytest.approx(58.0107, rel=1e-4)
    assert set(told["divergence"]["kl"]) == {"mean", "maximum", "percentiles", "minimum"}
    assert told["divergence"]["kl"]["mean"]["value"] == pytest.approx(0.46882, rel=1e-3)
    assert told["divergence"]["n_scored"] == 124


def test_a_base_file(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    saved = surgeon("perplexity", stories, *SHORT, "--save-logits", "logits")
    assert saved.returncode == 0 and "Divergence" not in saved.stdout
    assert_logits_file((tmp_path / "logits").read_bytes())
    done = surgeon("perplexity", stories, *SHORT, *WINDOW, "--base-logits", "logits")
    assert "Divergence from logits" in done.stdout and "58.01" in done.stdout
    with Unchanged(tmp_path):
        again = surgeon("perplexity", stories, *SHORT, "--save-logits", "logits")
    assert_told(again, 4, "exists")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--base-logits", "absent"), 2, "cannot be read"),
        (("--base-logits", "prose.txt"), 3, "not a llama-perplexity logits file"),
        (("--base-logits", TOOLS_BASE, "--ctx", "128"), 2, "has contexts of 64 tokens, not 128"),
        (("--base-logits", TOOLS_BASE, "--base", STORIES), 2, "measured against one base"),
        (("--base", "prose.txt"), 3, "prose.txt"),
        (("--base", TOOLS_BASE), 3, "Give them as the base logits"),
        (("--window", "3:9"), 2, "reaches past the end of the model"),
        (("--times", "3"), 2, "none is given"),
        ((*WINDOW, "--chunks", "2"), 2, "62 scored tokens are too few"),
        (("--base-logits", TOOLS_BASE, "--chunks", "2"), 2, "62 scored tokens are too few"),
        (("--save-logits", "absent/logits"), 5, "does not exist"),
        (("--save-logits", "logits", "--store", "store"), 2, "leave one of them out"),
        (("--replace",), 2, "none is named"),
        (("--base-logits", "absent", "--store", "store"), 2, "cannot be read"),
        (("--base-logits", TOOLS_BASE, "--base-layers", "0..4"), 2, "measured against one base"),
        (("--base-layers", "0..9"), 2, "there is no block 5"),
        (("--save-logits", "prose.txt", "--replace"), 4, "is the source"),
        (("--save-logits", "logits", "--stride", "16"), 2, "stride cannot be combined"),
        (("--details",), 2, "requires --json"),
        (("--base-logits", "/dev/null"), 2, "not a regular file"),
        (("--store", "absent/store"), 5, "cannot be opened"),
    ],
)
def test_bad_requests(
    stories: Path,
    surgeon: Run,
    tmp_path: Path,
    options: tuple[str | Path, ...],
    code: int,
    says: str,
) -> None:
    with Unchanged(tmp_path):
        assert_told(surgeon("perplexity", stories, *SHORT, *options), code, says)


def test_a_pipe_is_no_base_file(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    """To open it would wait for whoever writes into it."""
    os.mkfifo(tmp_path / "pipe")
    done = surgeon("perplexity", stories, *SHORT, "--base-logits", "pipe")
    assert_told(done, 2, "not a regular file")


def test_closed_input_and_full_output(stories: Path, tmp_path: Path) -> None:
    program = f"{sys.executable} -m ggufsurgeon perplexity {stories} --chunks 2 --ctx 64 --text"
    closed = subprocess.run(
        f"{program} - <&-", shell=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert_told(closed, 2, "standard input: it is closed")
    for as_json in ("", "--json"):
        full = subprocess.run(
            f"{program} prose.txt {as_json} > /dev/full",
            shell=True,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        assert (full.returncode, full.stderr.count("\n")) == (5, 2)
        assert "cannot be printed: No space left" in full.stderr


def test_ctrl_c_leaves_nothing(stories: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ggufsurgeon", "perplexity", str(stories)]
    options = ["--text", "prose.txt", "--base", str(stories), "--save-logits", "logits"]
    with started([*command, *options], cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.glob(".ggufsurgeon-*.tmp")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and b"interrupted by SIGINT" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["prose.txt"]
