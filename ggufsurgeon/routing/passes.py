"""A layer path as passes over models. Pure.

What runs before the first block stands as the block INPUT in front of the steps, and what runs
behind the last one as a block behind that of its model. The state after some steps of a path is
the output of the last of them. A run of consecutive blocks of one strength, and of the same
factors, is one pass: the state before it is put in place of what feeds its first block, and the
state behind it is read from its last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath

INPUT = -1
"""Stands for what feeds block 0, where block k stands for its own output."""
Steps: TypeAlias = tuple[BlockRef, ...]
"""The steps that have run. The first of them is the INPUT of a model."""


@dataclass(frozen=True)
class Pass:
    """The state after `before` goes in front of block `at`, and the model runs on from there."""

    before: Steps
    """Empty where the model runs from its own input."""
    at: BlockRef

    @property
    def n_before(self) -> int:
        """How many passes must have run."""
        return sum(1 for _ in starts(self.before))

    def entries(self, crossing: bool) -> Iterator[tuple[int, Steps]]:
        """Blocks of this pass's model, and after which steps the state in front of them is.

        With `crossing`, more than the residual stream reaches later blocks (shared KV, shared
        top-k): then each block before `at` computes what it did when it last ran on the path.
        """
        if crossing:
            yield from self._as_last_run()
        if self.before:
            yield self.at.block, self.before

    def _as_last_run(self) -> Iterator[tuple[int, Steps]]:
        places = {step: place for place, step in enumerate(self.before)}
        place_before = places.get(BlockRef(self.at.source, INPUT), -2)
        for block in range(self.at.block):
            place = places.get(BlockRef(self.at.source, block))
            if place is not None and place != place_before + 1:
                yield block, self.before[:place]
            place_before = -2 if place is None else place


def steps_of(path: LayerPath, outside: OutsideBlocks, n_blocks: int) -> Steps:
    """The steps of a path that change anything, from the input to the output.

    A block that adds nothing is left out. `n_blocks` are in the model that the output is of. Where
    the input or the output is that of a neighbouring block, it has this block's strength and
    factors, since it has none of its own: then it is part of the block's run.
    """
    steps = tuple(step for step in path.steps if not step.adds_nothing)
    first = steps[0].at(outside.embeddings, INPUT)
    last = steps[-1].at(outside.output, n_blocks)
    if first.next() != steps[0]:
        first = BlockRef(outside.embeddings, INPUT)
    if last != steps[-1].next():
        last = BlockRef(outside.output, n_blocks)
    return (first, *steps, last)


def starts(steps: Steps) -> Iterator[tuple[BlockRef, Steps]]:
    """The first block of each run of consecutive blocks that run alike, and the steps before."""
    for n, step in enumerate(steps):
        if n == 0 or step != steps[n - 1].next():
            yield step, steps[:n]


def pass_to(steps: Steps) -> Pass:
    """The pass in which the state after `steps` can be read; after all steps, the logits."""
    step, before = list(starts(steps))[-1]
    return Pass(before, step)


def states_needed(last: Pass, crossing: bool) -> list[Steps]:
    """The states that a pass needs, each behind those that it needs itself."""
    needed: list[Steps] = []
    for _, steps in last.entries(crossing):
        needed += [*states_needed(pass_to(steps), crossing), steps]
    return list(dict.fromkeys(needed))
