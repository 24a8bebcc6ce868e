"""Which numbers stand beside the blocks of a chart or a map."""

from __future__ import annotations

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def tick_step(n_blocks: int, most: int) -> int:
    """The least of `STEPS` at which no more than `most` of some blocks get a number.

    Of more blocks than any model has, the largest.
    """
    return next((step for step in STEPS if n_blocks <= step * most), STEPS[-1])
