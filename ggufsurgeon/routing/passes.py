"""A layer path as passes over models. Pure.

The state after some steps of a path is the output of the last of them. A run of consecutive
blocks of one strength is one pass: the state before it is put in place of what feeds its first
block, and the state behind it is read from its last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ggufsurgeon.layer_path.path import BlockRef, LayerPath

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
        return 0 if self._is_from_input else 1 + sum(1 for _ in starts(self.before))

    @property
    def _is_from_input(self) -> bool:
        """Whether a model runs on from its own input, of whatever strength its blocks are."""
        return not self.before and (self.at.source, self.at.block) == (0, 0)

    def entries(self, crossing: bool) -> Iterator[tuple[int, Steps]]:
        """Blocks of this pass's model, and after which steps the state in front of them is.

        With `crossing`, more than the residual stream reaches later blocks (shared KV, shared
        top-k): then each block before `at` computes what it did when it last ran on the path.
        """
        if crossing:
            yield from self._as_last_run()
        if not self._is_from_input:
            yield self.at.block, self.before

    def _as_last_run(self) -> Iterator[tuple[int, Steps]]:
        places = {step: place for place, step in enumerate(self.before)}
        place_before = -1
        for block in range(self.at.block):
            place = places.get(BlockRef(self.at.source, block))
            if place is not None and place != place_before + 1:
                yield block, self.before[:place]
            place_before = -2 if place is None else place


PLAIN = Pass((), BlockRef(0, 0))
"""The first model from its own input: nothing is put anywhere."""


def steps_of(path: LayerPath) -> Steps:
    """The steps of a path that change anything: a block of strength 0 does not."""
    return tuple(step for step in path.steps if step.strength)


def starts(steps: Steps) -> Iterator[tuple[BlockRef, Steps]]:
    """The first block of each run of consecutive blocks of one strength, and the steps before."""
    for n, step in enumerate(steps):
        if n == 0 or step != steps[n - 1].next():
            yield step, steps[:n]


def pass_to(steps: Steps) -> Pass:
    """The pass in which the state after `steps` can be read."""
    if not steps:
        return PLAIN
    step, before = list(starts(steps))[-1]
    return Pass(before, step)


def last_pass(steps: Steps, n_blocks: int) -> Pass:
    """The pass that gives the logits; `n_blocks` are in the first model, which has the head."""
    if (steps[-1].source, steps[-1].block) == (0, n_blocks - 1):
        return pass_to(steps)
    return Pass(steps, BlockRef(0, n_blocks))


def states_needed(last: Pass, crossing: bool) -> list[Steps]:
    """The states that a pass needs, each behind those that it needs itself."""
    needed: list[Steps] = []
    for _, steps in last.entries(crossing):
        needed += [*states_needed(pass_to(steps), crossing), steps]
    return list(dict.fromkeys(needed))
