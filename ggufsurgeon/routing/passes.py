"""A layer path as passes over models. Pure.

The state after some steps of a path is the output of the last of them. A run of consecutive
blocks is one pass: the state before it is put in place of what feeds its first block, and the
state behind it is read from its last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ggufsurgeon.layer_path.path import BlockRef

Steps: TypeAlias = tuple[BlockRef, ...]
"""The steps that have run; none of them stands for what feeds block 0 of the first model."""


@dataclass(frozen=True)
class Pass:
    """The state after `before` goes in front of block `at`, and the model runs on from there."""

    before: Steps
    at: BlockRef

    @property
    def n_before(self) -> int:
        """How many passes must have run."""
        return 0 if self == PLAIN else 1 + sum(1 for _ in starts(self.before))

    def entries(self) -> Iterator[tuple[int, Steps]]:
        """Blocks of this pass's model, and after which steps the state in front of them is.

        Besides `at` these are the starts of earlier runs over earlier blocks of the same model:
        blocks before `at` then compute what they did on the path, so that what reaches a later
        block besides the residual stream (shared KV, shared top-k) is right too.
        """
        first = self.at.block
        if self != PLAIN:
            yield first, self.before
        for step, before in reversed(list(starts(self.before))):
            if step.source == self.at.source and step.block < first:
                first = step.block
                if before or step != BlockRef(0, 0):
                    yield first, before


PLAIN = Pass((), BlockRef(0, 0))
"""The first model from its own input: nothing is put anywhere."""


def starts(steps: Steps) -> Iterator[tuple[BlockRef, Steps]]:
    """The first block of each run of consecutive blocks, and the steps before it."""
    for n, step in enumerate(steps):
        if n == 0 or step != BlockRef(steps[n - 1].source, steps[n - 1].block + 1):
            yield step, steps[:n]


def pass_to(steps: Steps) -> Pass:
    """The pass at whose end the state after `steps`, of which there are some, can be read."""
    step, before = list(starts(steps))[-1]
    return Pass(before, step)


def last_pass(steps: Steps, n_blocks: int) -> Pass:
    """The pass that gives the logits; `n_blocks` are in the first model, which has the head."""
    if steps[-1] == BlockRef(0, n_blocks - 1):
        return pass_to(steps)
    return Pass(steps, BlockRef(0, n_blocks))


def states_needed(steps: Steps, n_blocks: int) -> list[Steps]:
    """The states that the logits need, each behind those that it needs itself."""
    needed = [before for _, before in starts(steps)]
    if steps[-1] != BlockRef(0, n_blocks - 1):
        needed.append(steps)
    plain_start = steps[0] == BlockRef(0, 0)
    return [state for state in needed if state or not plain_start]
