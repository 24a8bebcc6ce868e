"""How far a search gets by luck alone: the whole of it, again, on differences of random signs.

A search chooses what it runs next by the scores so far, so that the best of its paths is selected
from many more than it ran. A replay goes through all of it: the differences, less their means, get
random signs item by item, the best windows of the scan are chosen anew, and the beam extends what
is best now. Paths that nobody ran are taken to differ by the sum of what their edits differ by, an
edit of another strength or number of times in proportion. That is an assumption, so that this is a
yardstick for scores on the search items; the verdict of a search is by its held-out items, which
needs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ggufsurgeon.layer_path.edits import DampedRepeat, Drop, WindowEdit
from ggufsurgeon.scanning.search.beam import Space, beam_search, lower_bounds
from ggufsurgeon.scanning.search.candidates import Composition
from ggufsurgeon.scanning.search.composition_paths import CompositionPaths
from ggufsurgeon.scanning.search.findings import SearchLuck
from ggufsurgeon.scanning.search.limits import SearchLimits
from ggufsurgeon.scanning.search.singles import Singles, chosen_singles
from ggufsurgeon.statistics.maximum import LEVEL, TIE, Values

N_REPLAYS = 199


def search_luck(
    singles: Singles,
    known: Mapping[Composition, Values],
    best_score: float,
    limits: SearchLimits,
    paths: CompositionPaths,
    seed: int,
    n_replays: int,
) -> SearchLuck:
    """What replays reach; `known` has the differences of compositions that were run, [n_items]."""
    generator = np.random.default_rng([seed, 2])
    singles = Singles(singles.edits, _without_effect(singles.differences))
    sums = _Sums(singles, {one: _without_effect(values) for one, values in known.items()})
    n_items = singles.differences.shape[1]
    reached = []
    for _ in range(n_replays):
        signs = generator.integers(0, 2, n_items) * 2.0 - 1.0
        reached.append(_replay(singles, sums, limits, paths, signs))
    n_as_good = sum(score >= best_score - TIE * abs(best_score) for score in reached)
    return SearchLuck(
        n_replays,
        float(np.quantile(reached, 1 - LEVEL)),
        (1 + n_as_good) / (1 + n_replays),
    )


def _without_effect(differences: Values) -> Values:
    """Differences [..., n_items] less their means, with the variance that they had about these.

    Scores are not in standard errors: with their means, the windows that break a model, which have
    by far the greatest differences, would alone decide what random signs reach.
    """
    n_items = differences.shape[-1]
    centred = differences - differences.mean(axis=-1, keepdims=True)
    return np.asarray(centred * np.sqrt(n_items / (n_items - 1)))


def _replay(
    singles: Singles, sums: _Sums, limits: SearchLimits, paths: CompositionPaths, signs: Values
) -> float:
    """The score of the best path of a search on differences of these signs."""
    flipped = Singles(singles.edits, singles.differences * signs)
    chosen = chosen_singles(flipped, limits, paths.is_possible)

    def score(step: Sequence[Composition]) -> list[float]:
        found = np.stack([sums.of(one) for one in step])
        return list(map(float, lower_bounds(found * signs)))

    found = beam_search(Space(chosen, limits, paths.usable), score)
    return max(found.values())


class _Sums:
    """The differences of compositions: measured, or the sums of those of their edits."""

    def __init__(self, singles: Singles, known: Mapping[Composition, Values]) -> None:
        self._known = dict(known)
        self._of_windows: dict[tuple[object, bool], tuple[WindowEdit, Values]] = {}
        for edit, values in zip(singles.edits, singles.differences, strict=True):
            self._known.setdefault((edit,), values)
            self._of_windows.setdefault(_key(edit), (edit, values))

    def of(self, composition: Composition) -> Values:
        if composition not in self._known:
            self._known[composition] = np.sum([self._of_edit(one) for one in composition], axis=0)
        return self._known[composition]

    def _of_edit(self, edit: WindowEdit) -> Values:
        if (edit,) in self._known:
            return self._known[(edit,)]
        like, values = self._of_windows[_key(edit)]
        return values * (_weight(edit) / _weight(like))


def _key(edit: WindowEdit) -> tuple[object, bool]:
    return edit.windows, isinstance(edit, Drop)


def _weight(edit: WindowEdit) -> float:
    """How much is done to a window: the strengths of its further passes."""
    if isinstance(edit, Drop):
        return 1.0
    if isinstance(edit, DampedRepeat):
        return (edit.times - 1) / edit.times
    return (edit.times - 1) * edit.strength
