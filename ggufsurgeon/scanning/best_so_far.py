"""The best path of a scan that is under way, for those who watch it."""

from __future__ import annotations

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.job import Scored
from ggufsurgeon.statistics.estimate import mean_of


class BestSoFar:
    """Takes the scores as they come. It is no finding: the best of many is high by luck."""

    def __init__(self, identity: LayerPath) -> None:
        self._identity = identity
        self._bases: dict[int, float] = {}
        self._differences: dict[LayerPath, list[float]] = {}
        self.note = ""
        """The best path by its mean difference from the unmodified model, with its error."""

    def add(self, scored: Scored) -> None:
        """Take in the scores of a group along a path."""
        pairs = zip(scored.items, scored.scores, strict=True)
        if scored.path == self._identity:
            self._bases |= dict(pairs)
            return
        known = [score - self._bases[item] for item, score in pairs if item in self._bases]
        self._differences.setdefault(scored.path, []).extend(known)
        most = max(map(len, self._differences.values()))
        complete = {path: all_ for path, all_ in self._differences.items() if len(all_) == most}
        if most == 0 or not complete:
            return
        path = max(complete, key=lambda one: sum(complete[one]))
        estimate = mean_of(complete[path])
        error = "" if estimate.error is None else f" ± {estimate.error:.2g}"
        self.note = f"best {path}: {estimate.value:+.3g}{error}"
