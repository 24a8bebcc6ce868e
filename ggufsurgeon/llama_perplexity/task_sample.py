"""The random subset of tasks that llama-perplexity draws, bug for bug.

Its `--hellaswag-tasks`, `--winogrande-tasks` and `--multiple-choice-tasks` draw without
replacement, by a Mersenne twister that is seeded with 1 (tools/perplexity/perplexity.cpp:764-842,
1096-1115 and 1424-1440 in llama.cpp of 2026-10-01).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

Generator = Callable[[], int]
"""A source of random integers from 0 to 2**32 - 1."""


def draw(tasks: Sequence[T], n: int | None, *, as_hellaswag: bool) -> tuple[T, ...]:
    """`n` of the tasks, in the order of the draw; all tasks, in their order, if there are no more.

    With `as_hellaswag`, tasks are drawn as those of hellaswag, else as those of winogrande and
    multiple choice.
    """
    if n is None or n >= len(tasks):
        return tuple(tasks)
    generator = _twister()
    left = list(tasks)
    take = take_lemire if as_hellaswag else _take_scaled
    return tuple(take(left, generator) for _ in range(n))


def _twister() -> Generator:
    """`std::mt19937(1)`."""
    state = np.random.RandomState(1)
    return lambda: int(state.randint(0, 1 << 32, dtype=np.uint32))


def take_lemire(left: list[T], generator: Generator) -> T:
    """Take a task by `std::uniform_int_distribution` of GNU's standard library; the order is kept.

    D. Lemire, Fast random integer generation in an interval, 2019 (arXiv:1805.10941).
    """
    product = generator() * len(left)
    while (product & 0xFFFFFFFF) < (1 << 32) % len(left):
        product = generator() * len(left)
    return left.pop(product >> 32)


def _take_scaled(left: list[T], generator: Generator) -> T:
    """Take a task by a product in 32-bit floats; the last one takes its place."""
    share = np.float32(generator()) * np.float32(2**-32)
    at = min(int(share * np.float32(len(left))), len(left) - 1)
    left[at], left[-1] = left[-1], left[at]
    return left.pop()
