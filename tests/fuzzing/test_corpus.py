"""The laws, checked with inputs that fuzzing found and with handwritten hostile inputs."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fuzzing.seeds import for_target
from tests.fuzzing.targets import TARGETS

CORPUS = ROOT / "fixtures/fuzz_corpus"
SECONDS = 2
MOST_TIMES = 100
"""Bytes of memory for each byte of a file: objects of Python are that much larger than their
smallest encodings."""
ANYWAY_N_BYTES = 4 << 20


def inputs(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("name", TARGETS)
def test_laws_hold(name: str) -> None:
    assert inputs(name)
    for path in inputs(name):
        start = time.process_time()
        TARGETS[name](path.read_bytes())
        assert time.process_time() - start < SECONDS, path


@pytest.mark.parametrize("name", TARGETS)
def test_memory_is_in_proportion(name: str) -> None:
    for path in inputs(name):
        data = path.read_bytes()
        tracemalloc.start()
        try:
            TARGETS[name](data)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < ANYWAY_N_BYTES + MOST_TIMES * len(data), path


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_begins_with(name: str) -> None:
    """Files of every architecture, patched ones and shards."""
    for data in for_target(name):
        TARGETS[name](data)


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.glob("*/*")]
    assert sum(sizes) < 300_000
    assert max(sizes) < 10_000
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
