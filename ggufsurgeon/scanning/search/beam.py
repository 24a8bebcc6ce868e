"""Beam search: the best paths so far are extended and varied, until none of them is new. Pure.

Paths are compared by a lower bound of their gain: the mean difference from the unmodified model
less its standard error. By the mean alone, a path that breaks some items and helps others would
often win by luck; by the mean in standard errors, a repeat of a strength near 0, whose effect is as
sure as it is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ggufsurgeon.layer_path.edits import WindowEdit
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.search.candidates import Composition, extended, n_added, varied
from ggufsurgeon.scanning.search.limits import SearchLimits
from ggufsurgeon.statistics.maximum import Values


def lower_bounds(differences: Values) -> Values:
    """Means less their standard errors, of differences [n_paths, n_items]; [n_paths].

    Less than any number for a path that has no number on some item.
    """
    n_items = differences.shape[1]
    is_known = np.asarray(np.isfinite(differences).all(axis=1))
    known = np.where(is_known[:, np.newaxis], differences, 0.0)
    errors = known.std(axis=1, ddof=1) / np.sqrt(n_items)
    return np.where(is_known, known.mean(axis=1) - errors, -np.inf)


@dataclass(frozen=True)
class Space:
    """What a search may compose."""

    singles: Sequence[WindowEdit]
    """Edits of one window each, the best of a scan first."""
    limits: SearchLimits
    path_of: Callable[[Composition], LayerPath | None]
    """The layer path of a composition; None where it cannot be run, or written to a file."""


@dataclass
class _State:
    """What has been scored so far, in the order in which it was tried."""

    scores: dict[Composition, float] = field(default_factory=dict)
    extended: set[Composition] = field(default_factory=set)
    paths: set[LayerPath] = field(default_factory=set)


def beam_search(
    space: Space, score: Callable[[Sequence[Composition]], Sequence[float]]
) -> dict[Composition, float]:
    """All that was tried, with the scores that `score` gives to the compositions of each step.

    The first step has the single edits, each further one what can be made of the best so far. It
    ends when all of these have been extended, or with as many paths as the limits allow. The same
    scores give the same search.
    """
    state = _State()
    proposed: Iterable[Composition] = [(single,) for single in space.singles]
    while step := _step(state, proposed, space):
        state.scores |= zip(step, score(step), strict=True)
        proposed = _proposals(state, space)
    return state.scores


def _step(state: _State, proposed: Iterable[Composition], space: Space) -> list[Composition]:
    """The first of what is proposed that is new and allowed, as many as may still be tried.

    Several compositions can be one path: blocks that are dropped one by one, or as one window.
    """
    room = space.limits.max_paths - len(state.scores)
    found: dict[LayerPath, Composition] = {}
    for composition in dict.fromkeys(proposed):
        if len(found) >= room:
            break
        if composition in state.scores or n_added(composition) > space.limits.max_blocks:
            continue
        path = space.path_of(composition)
        if path is not None and path not in state.paths:
            found.setdefault(path, composition)
    state.paths |= found.keys()
    return list(found.values())


def _proposals(state: _State, space: Space) -> list[Composition]:
    """What the best so far can become, the most promising first.

    A composition is expected to gain what its parts gain, and a variant what it is one of.
    """
    best = sorted(state.scores, key=lambda one: -state.scores[one])[: space.limits.beam]
    expected: dict[Composition, float] = {}
    for member in best:
        if member in state.extended or state.scores[member] == -np.inf:
            continue
        state.extended.add(member)
        for other in varied(member, space.limits.strengths):
            expected.setdefault(other, state.scores[member])
        for single in space.singles:
            for other in extended(member, [single]):
                gain = state.scores.get((single,), 0.0)
                expected.setdefault(other, state.scores[member] + gain)
    return sorted(expected, key=lambda one: -expected[one])
