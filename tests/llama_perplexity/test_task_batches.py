"""The tasks that are decoded together."""

from __future__ import annotations

import pytest

from ggufsurgeon.llama_perplexity.task_batches import TaskSize, batches


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(10, 2)], [(0, 1)]),
        ([(50, 2), (50, 2), (1, 2)], [(0, 2), (2, 3)]),  # full to the last token and sequence
        ([(50, 1), (51, 1)], [(0, 1), (1, 2)]),  # a token too many
        ([(1, 4), (1, 1), (1, 3)], [(0, 1), (1, 3)]),  # a sequence too many
    ],
)
def test_as_many_tasks_as_fit(
    sizes: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    found = batches([TaskSize(*size) for size in sizes], n_ctx=100, n_sequences=4)
    assert [(part.start, part.stop) for part in found] == expected
