"""Predicted memory is what llama.cpp allocates, for every architecture that can be run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

NAMES = sorted(path.stem for path in (ROOT / "fixtures/arch_headers").glob("*.gguf"))
NOT_KNOWN = {"deepseek32", "deepseek4", "dots3note", "glm-dsa", "glm5-next", "hrm_text"}
NOT_KNOWN |= {"graniteswitch", "hy_v4", "minimax-01", "minimax-m3", "qwen4exp"}
MORE_WEIGHTS = {"gemma4": 70_000, "gemma4_e2b": 70_000, "gemma4_per_layer": 70_000}
MORE_WEIGHTS |= {"gemma4_shared_kv": 70_000, "gemma3n": 70_000, "step35_mtp": 750_000}
"""llama.cpp holds a copy of `rope_freqs` for blocks, and of what an MTP block has, besides."""
BUFFERS = 2
"""That a figure is the sum of, at most: a cache has one with and one without windows."""
ROUNDING = BUFFERS * 0.005 * 1024 * 1024
"""The log has MiB with two decimals."""


def compare(kind: str, *models: str | Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.verification.allocation", kind, *map(str, models)]
    environment = os.environ | {"GGML_NO_BACKTRACE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_equal(line: dict[str, Any]) -> None:
    more = MORE_WEIGHTS.get(line["model"].rpartition("-")[0], 0)
    weights, *caches = line["allocated"]
    assert line["predicted"][0] == pytest.approx(weights, abs=ROUNDING + more), line["model"]
    assert line["predicted"][1:] == pytest.approx(caches, abs=ROUNDING), line["model"]


def test_every_architecture() -> None:
    lines = compare("f16", *NAMES)
    assert [line["model"] for line in lines] == NAMES
    for line in lines:
        if line["model"].rpartition("-")[0] in NOT_KNOWN:
            weights, *caches = line["predicted"]
            assert weights == pytest.approx(line["allocated"][0], abs=ROUNDING), line["model"]
            assert caches == [None, None]
        else:
            assert_equal(line)


def test_a_quantized_cache() -> None:
    names = ["llama-dense", "gemma2-dense", "deepseek2-moe", "qwen3next-moe", "falcon-h1-dense"]
    for line in compare("q8_0", *names):
        assert line["allocated"], line["model"]
        assert_equal(line)


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_a_real_model(kind: str, smollm2: Path) -> None:
    (line,) = compare(kind, smollm2)
    assert_equal(line)


def test_another_real_model(stories: Path) -> None:
    (line,) = compare("f16", stories)
    assert_equal(line)
