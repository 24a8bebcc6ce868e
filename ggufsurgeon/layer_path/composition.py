"""Several repeats and drops together: one layer path, whatever the order they are named in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import DampedRepeat, Drop, WindowEdit
from ggufsurgeon.layer_path.notations import Window
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.layer_path.strengths import FULL


def in_order(edits: Sequence[WindowEdit]) -> tuple[WindowEdit, ...]:
    """The edits by their windows: those of one model in the order of its blocks."""
    return tuple(sorted(edits, key=lambda edit: edit.windows))


def can_compose(edits: Sequence[WindowEdit]) -> bool:
    """Whether no window is dropped or damped that another edit touches too."""
    return not any(
        _overlap(one, other)
        for one, other in combinations(edits, 2)
        if isinstance(one, Drop | DampedRepeat) or isinstance(other, Drop | DampedRepeat)
    )


def compose(n_blocks: int, edits: Sequence[WindowEdit]) -> LayerPath:
    """The path over a model of `n_blocks` with all of the edits.

    Drops take their blocks away, damped repeats scale all passes of their windows, and then each
    repeat, in the order of the windows, is inserted behind the last place where its last block
    runs so far. Raises UsageError unless `can_compose`, and as each edit does alone.
    """
    if not can_compose(edits):
        raise UsageError(
            "windows that are dropped or damped overlap others, so that it is unclear what becomes "
            "of the blocks of both"
        )
    steps = list(LayerPath.identity(n_blocks).steps)
    for edit in in_order(edits):
        edit.over(n_blocks)  # raises where it does not fit
        for window in edit.windows:
            steps = _with(steps, edit, window)
    if not steps:
        raise UsageError(f"the layer path is empty: all {n_blocks} blocks would be dropped")
    return LayerPath(steps)


def _with(steps: list[BlockRef], edit: WindowEdit, window: Window) -> list[BlockRef]:
    first, end = window
    if isinstance(edit, Drop):
        return [step for step in steps if not first <= step.block < end]
    strength = 1 / edit.times if isinstance(edit, DampedRepeat) else edit.strength
    inserted = [BlockRef(0, block, strength) for block in range(first, end)] * (edit.times - 1)
    behind = max(n for n, step in enumerate(steps) if step.block == end - 1) + 1
    of_first_pass = strength if isinstance(edit, DampedRepeat) else FULL
    if of_first_pass != FULL:
        steps = [
            BlockRef(0, step.block, of_first_pass) if first <= step.block < end else step
            for step in steps
        ]
    return [*steps[:behind], *inserted, *steps[behind:]]


def _overlap(one: WindowEdit, other: WindowEdit) -> bool:
    return any(
        first < other_end and other_first < end
        for first, end in one.windows
        for other_first, other_end in other.windows
    )
