"""The scores of a search so far, as differences from the unmodified model. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.search.beam import lower_bounds
from ggufsurgeon.scanning.search.limits import SearchItems
from ggufsurgeon.statistics.maximum import Values


class Measured:
    """The scores of a probe, with its items in the order of a search."""

    def __init__(
        self,
        scores: Mapping[str, Mapping[int, float]],
        items: SearchItems,
        n_items: int,
        n_blocks: int,
    ) -> None:
        self._scores = scores
        self._base = str(LayerPath.identity(n_blocks))
        self._bases = scores.get(self._base, {})
        course = items.course(n_items)
        self._numbers = course.numbers
        self.search, self.held_out = course.rounds

    def has(self, path: LayerPath | str, items: range) -> bool:
        """Whether a path and the unmodified model have been run on all of these items."""
        both = self._bases, self._scores.get(str(path), {})
        return all(item in found for found in both for item in items)

    def known(self, items: range) -> list[int]:
        """Those of the items on which the unmodified model has a finite score."""
        return [item for item in items if math.isfinite(self._bases.get(item, math.nan))]

    def numbers(self, items: range) -> list[int]:
        """The indices in the probe of the items that are `known`."""
        return [self._numbers[item] for item in self.known(items)]

    def differences(self, path: LayerPath | str, items: range) -> Values:
        """Differences on the `known` items; NaN where a score is no number. Raises KeyError."""
        found = self._scores[str(path)]
        return np.array([found[item] - self._bases[item] for item in self.known(items)])

    def search_scores(self, paths: Sequence[LayerPath | str]) -> list[float]:
        """What a search compares of paths, one or more. Raises KeyError."""
        found = np.stack([self.differences(path, self.search) for path in paths])
        return list(map(float, lower_bounds(found)))
