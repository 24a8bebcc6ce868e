"""The best path of a scan that is under way, for those who watch it."""

from __future__ import annotations

import math

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.jobs.job import Scored
from ggufsurgeon.statistics.estimate import mean_of


class BestSoFar:
    """Takes the scores as they come. It is no finding: the best of many is high by luck."""

    def __init__(self, identity: LayerPath) -> None:
        self._identity = identity
        self._bases: dict[int, float] = {}
        self._differences: dict[LayerPath, list[float]] = {}
        self._sums: dict[LayerPath, float] = {}
        self.note = ""
        """The best path by its mean difference from the unmodified model, with its error."""

    def add(self, scored: Scored) -> None:
        """Take in the scores of a group along a path."""
        pairs = zip(scored.items, scored.scores, strict=True)
        if scored.path == self._identity:
            self._bases |= dict(pairs)
            return
        known = [score - self._bases[item] for item, score in pairs if item in self._bases]
        known = list(filter(math.isfinite, known))
        self._differences.setdefault(scored.path, []).extend(known)
        self._sums[scored.path] = self._sums.get(scored.path, 0.0) + sum(known)
        most = max(map(len, self._differences.values()))
        if most == 0:
            return
        complete = (path for path, all_ in self._differences.items() if len(all_) == most)
        path = max(complete, key=self._sums.__getitem__)
        estimate = mean_of(self._differences[path])
        error = "" if estimate.error is None else f" ± {estimate.error:.2g}"
        self.note = f"best {path}: {estimate.value:+.3g}{error}"
