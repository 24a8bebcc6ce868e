"""A race of layer paths: a few items for all, then twice the items for the better half. Pure.

Successive halving (Jamieson and Talwalkar, arXiv:1502.07943, figure 3) over paired differences from
the unmodified model. Items that judge the winner are fixed before the race and are no part of it,
so that whatever the race does, their verdict is as good as that on a single path.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ggufsurgeon.errors import UsageError
from ggufsurgeon.statistics.maximum import LEAST_ITEMS, Values, held_out_items, studentised

N_FIRST = 4
"""Items of the first round."""
N_FINALISTS = 4
"""Paths that no round leaves out, and that the held-out items are run along."""
LEAST_ITEMS_OF_Z = 8
"""Items from which on paths are compared by means in standard errors; by means before."""

Scores = Mapping[str, Mapping[int, float]]
"""By layer path and item, in the order of a race."""


@dataclass(frozen=True)
class Race:
    """How a race is run. All of it decides which scores there are."""

    held_out: float = 0.5
    """The share of items that judge the winner."""
    seed: int = 0
    """Of the choice of those items, and of the order of the others."""
    n_first: int = N_FIRST
    n_finalists: int = N_FINALISTS

    def __post_init__(self) -> None:
        """Raise UsageError for a race without items or without finalists."""
        if min(self.n_first, self.n_finalists) < 1:
            raise UsageError(
                f"a race from {self.n_first} items to {self.n_finalists} paths: expected numbers "
                "above 0"
            )

    def settings(self) -> dict[str, Any]:
        """As JSON's types, for the settings of a probe."""
        return {"race": dataclasses.asdict(self)}

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Race | None:
        """The race in the settings of a probe; None for a probe that was not raced."""
        found = settings.get("race")
        return None if found is None else cls(**found)

    def check(self, n_items: int) -> None:
        """Raise UsageError for too few items: the held-out ones could not judge the winner."""
        n_search = self.course(n_items).n_search
        n_held_out = n_items - n_search
        if min(n_search, n_held_out) < LEAST_ITEMS:
            raise UsageError(
                f"a race over {n_items} items: {n_search} that choose the best path and "
                f"{n_held_out} that judge it are too few; each needs {LEAST_ITEMS}"
            )

    def course(self, n_items: int) -> Course:
        """The items of this race in its order, and its rounds."""
        is_held_out = held_out_items(n_items, self.held_out, self.seed)
        search = np.random.default_rng([self.seed, 1]).permutation(np.flatnonzero(~is_held_out))
        n_search, ends = len(search), [0]
        while ends[-1] < n_search:
            ends.append(min(max(2 * ends[-1], self.n_first), n_search))
        rounds = [range(*ends[n : n + 2]) for n in range(len(ends) - 1)]
        return Course(
            (*search.tolist(), *np.flatnonzero(is_held_out).tolist()),
            n_search,
            (*rounds, range(n_search, n_items)),
            self.n_finalists,
        )


@dataclass(frozen=True)
class Course:
    """The items of a race in its order: those of the search, then the held-out ones."""

    numbers: tuple[int, ...]
    """The index of each item in its probe."""
    n_search: int
    rounds: tuple[range, ...]
    """The items that each round adds. The last round has the held-out items."""
    n_finalists: int

    def n_kept(self, number: int, n_paths: int) -> int:
        """How many of the paths of a round go on to the next: half, and few at last."""
        is_last_of_search = number >= len(self.rounds) - 2
        return min(n_paths, self.n_finalists if is_last_of_search else self._half(n_paths))

    def _half(self, n_paths: int) -> int:
        return max(self.n_finalists, math.ceil(n_paths / 2))

    def n_paths_in_rounds(self, n_paths: int) -> list[int]:
        """How many paths each round runs, the unmodified model left out."""
        found = [n_paths]
        for number in range(len(self.rounds) - 1):
            found.append(self.n_kept(number, found[-1]))
        return found

    def n_item_passes(self, n_paths: int) -> int:
        """Passes of an item along a path in the whole race, those of the unmodified model too."""
        pairs = zip(self.rounds, self.n_paths_in_rounds(n_paths), strict=True)
        return sum(len(items) * (n + 1) for items, n in pairs)


class Order(Protocol):
    """What decides in which order items are run, and which of them run together."""

    def course(self, n_items: int) -> Course:
        """The order of as many items."""


class Round(NamedTuple):
    """The round that a race is in."""

    number: int
    """From 0; that of the last round when the race is over."""
    items: range
    """The items that the round adds; none when the race is over."""
    paths: tuple[str, ...]
    """The paths that it runs, or the finalists."""


def current_round(course: Course, paths: Sequence[str], base: str, scores: Scores) -> Round:
    """The first round that lacks scores, as the scores of those before it decide.

    `base` is the path of the unmodified model, which is scored in every round.
    """
    racing = tuple(paths)
    for number, items in enumerate(course.rounds):
        if not _is_scored(items, (base, *racing), scores):
            return Round(number, items, racing)
        if number < len(course.rounds) - 1:
            n_kept = course.n_kept(number, len(racing))
            racing = _best(racing, base, scores, items.stop, n_kept)
    return Round(len(course.rounds) - 1, range(0), racing)


def _is_scored(items: range, paths: Sequence[str], scores: Scores) -> bool:
    known = (scores.get(path, {}) for path in paths)
    return all(item in of_path for of_path in known for item in items)


def _best(
    paths: tuple[str, ...], base: str, scores: Scores, n_items: int, n_kept: int
) -> tuple[str, ...]:
    """The best paths over the first items, in their order; among equals, those named first."""
    bases = scores[base]
    items = [item for item in range(n_items) if math.isfinite(bases[item])]
    differences = np.array(
        [[scores[path][item] - bases[item] for item in items] for path in paths],
        dtype=np.float64,
    ).reshape(len(paths), len(items))
    order = np.argsort(-strengths(differences), kind="stable")
    return tuple(paths[n] for n in sorted(order[:n_kept].tolist()))


def strengths(differences: Values) -> Values:
    """What the rounds of a race compare, of differences [n_paths, n_items]; [n_paths].

    Means, from `LEAST_ITEMS_OF_Z` items on in standard errors: those of a few items are too rough
    to divide by. Less than any number for a path that has no number on some item.
    """
    n_items = differences.shape[1]
    is_known = np.asarray(np.isfinite(differences).all(axis=1))
    known = np.where(is_known[:, np.newaxis], differences, 0.0)
    if n_items >= LEAST_ITEMS_OF_Z:
        found = studentised(known)
    else:
        found = known.sum(axis=1) / max(1, n_items)
    return np.where(is_known, found, -np.inf)
