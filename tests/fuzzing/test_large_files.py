"""Work and memory in proportion to the size of a file, and the laws for large ones."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

from tests.fuzzing.large_files import MAKE
from tests.fuzzing.targets import FILES, recipe

SECONDS = 5
MOST_TIMES = 100
PATCH = b"patch: 0..9999 by ggufsurgeon 1.0.0\n"


@pytest.mark.parametrize("make", MAKE, ids=lambda make: make.__name__)
def test_no_law_takes_long(make: Callable[[], bytes]) -> None:
    data = make()
    assert len(data) < 1_200_000
    for name in ("header", "planning", "restoring"):
        start = time.process_time()
        FILES[name](data)
        assert time.process_time() - start < SECONDS, name


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKE, ids=lambda make: make.__name__)
def test_memory_is_in_proportion(make: Callable[[], bytes]) -> None:
    data = make()
    tracemalloc.start()
    try:
        FILES["restoring"](data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < (4 << 20) + MOST_TIMES * len(data)


def test_a_recipe_of_many_long_patches() -> None:
    """A hundred thousand blocks in each of ten thousand lines would be gigabytes."""
    start = time.process_time()
    recipe(b"recipe: 1\n" + PATCH * 20_000)
    assert time.process_time() - start < SECONDS
