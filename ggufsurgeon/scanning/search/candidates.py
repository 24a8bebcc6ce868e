"""The paths that a search tries: compositions of edits, and what can be done to one more. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ggufsurgeon.layer_path.composition import can_compose, in_order
from ggufsurgeon.layer_path.edits import DampedRepeat, Drop, Repeat, WindowEdit
from ggufsurgeon.layer_path.strengths import FULL

Composition: TypeAlias = tuple[WindowEdit, ...]
"""Edits of one window each, in the order of the windows."""


def n_added(composition: Composition) -> int:
    """How many blocks its path has more than the model."""
    return sum(map(_n_added, composition))


def _n_added(edit: WindowEdit) -> int:
    n_blocks = sum(end - first for first, end in edit.windows)
    return -n_blocks if isinstance(edit, Drop) else n_blocks * (edit.times - 1)


def extended(composition: Composition, singles: Sequence[WindowEdit]) -> Iterator[Composition]:
    """The composition with each of the single edits, where they go together."""
    windows = {edit.windows for edit in composition}
    for single in singles:
        more = in_order([*composition, single])
        if single.windows not in windows and can_compose(more):
            yield more


def varied(composition: Composition, strengths: Sequence[float]) -> Iterator[Composition]:
    """The composition with one of its repeats at another strength, damped, or run once more."""
    for place, edit in enumerate(composition):
        for other in _variants(edit, strengths):
            changed = (*composition[:place], other, *composition[place + 1 :])
            if can_compose(changed):
                yield changed


def _variants(edit: WindowEdit, strengths: Sequence[float]) -> Iterator[WindowEdit]:
    """Nothing for strengths where there are none to try: llama.cpp may be too old to read them."""
    if isinstance(edit, Drop):
        return
    plain = Repeat(edit.windows, edit.times)
    strength = edit.strength if isinstance(edit, Repeat) else None
    for other in (FULL, *strengths):
        if other != strength:
            yield dataclasses.replace(plain, strength=other)
    if strengths and strength is not None:
        yield DampedRepeat(edit.windows, edit.times)
    yield dataclasses.replace(edit, times=edit.times + 1)
