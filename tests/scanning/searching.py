"""Searches over scores that are made up: of windows whose effects add up, more or less."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ggufsurgeon.layer_path.edits import Drop, WindowEdit
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.search.beam import Space, beam_search, lower_bounds
from ggufsurgeon.scanning.search.candidates import Composition
from ggufsurgeon.scanning.search.composition_paths import CompositionPaths
from ggufsurgeon.scanning.search.front import best_of_lengths
from ggufsurgeon.scanning.search.judging import SearchData
from ggufsurgeon.scanning.search.limits import SearchItems, SearchLimits
from ggufsurgeon.scanning.search.singles import chosen_singles, scanned_singles
from ggufsurgeon.scanning.windows import WindowRange, repeats
from ggufsurgeon.statistics.maximum import Values
from ggufsurgeon.store.scan_scores import ScannedPath

N_BLOCKS, N_ITEMS = 10, 24
LIMITS = SearchLimits(max_blocks=4, beam=3, max_paths=40)
ITEMS = SearchItems()


class World:
    """What paths differ by on each item. Windows share the noise of their blocks."""

    def __init__(self, seed: int, interaction: float, effect: float, planted: int = 7) -> None:
        generator = np.random.default_rng(seed)
        self._of_blocks = generator.standard_normal((N_BLOCKS, N_ITEMS))
        self._seed, self._interaction = seed, interaction
        self._of_blocks[planted] += effect

    def differences(self, composition: Composition) -> Values:
        """Sums of what the edits differ by, and noise of the composition's own."""
        found = np.sum([self._of_edit(edit) for edit in composition], axis=0)
        name = repr((self._seed, composition)).encode()
        own = np.random.default_rng(zlib.crc32(name)).standard_normal(N_ITEMS)
        return np.asarray(found + self._interaction * own)

    def _of_edit(self, edit: WindowEdit) -> Values:
        ((first, end),) = edit.windows
        blocks = self._of_blocks[first:end].sum(axis=0) / np.sqrt(end - first)
        weight = -1.0 if isinstance(edit, Drop) else 1 - 0.5 ** (edit.times - 1)
        return np.asarray(weight * blocks)


class Searched(NamedTuple):
    """A search that is over."""

    data: SearchData
    tried: dict[Composition, float]


def scanned_scores(world: World) -> dict[str, dict[int, float]]:
    """A scan of all windows of up to three blocks, with items in the order of the probe."""
    found = {str(LayerPath.identity(N_BLOCKS)): dict.fromkeys(range(N_ITEMS), 0.0)}
    for one in repeats(N_BLOCKS, WindowRange(largest=3)):
        assert one.edit is not None
        found[str(one.path)] = dict(enumerate(world.differences((one.edit,)).tolist()))
    return found


def run_search(world: World, limits: SearchLimits = LIMITS) -> Searched:
    """A search as the runner makes it, and what its store then has."""
    course = ITEMS.course(N_ITEMS)
    order, n_search = np.array(course.numbers), course.n_search
    scan = scanned_scores(world)
    paths = CompositionPaths(N_BLOCKS, lambda _: True)
    singles = scanned_singles(scan, N_BLOCKS, course.numbers[:n_search])
    chosen = chosen_singles(singles, limits, paths.is_possible)
    scores = {str(LayerPath.identity(N_BLOCKS)): dict.fromkeys(range(N_ITEMS), 0.0)}

    def score(step: Sequence[Composition]) -> list[float]:
        rows = np.stack([world.differences(one)[order] for one in step])
        for one, row in zip(step, rows, strict=True):
            scores[str(paths.of(one))] = dict(enumerate(row[:n_search].tolist()))
        return list(map(float, lower_bounds(rows[:, :n_search])))

    tried = beam_search(Space(chosen, limits, paths.usable), score)
    for one in best_of_lengths(tried):
        scores[str(paths.of(one))] = dict(enumerate(world.differences(one)[order].tolist()))
    known = {
        name: ScannedPath(name, "", "", len(LayerPath(name)) - N_BLOCKS, 0, 0) for name in scores
    }
    names = [str(paths.of((edit,))) for edit in chosen]
    data = SearchData(
        *("made up", "points", N_ITEMS, N_BLOCKS, scores, scan, known, limits, ITEMS, names),
        n_bytes_read=1000,
    )
    return Searched(data, tried)
