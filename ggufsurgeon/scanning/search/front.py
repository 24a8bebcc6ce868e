"""The best of all tried paths: of each length, and those that no shorter one surpasses. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ggufsurgeon.scanning.search.candidates import Composition, n_added
from ggufsurgeon.scanning.search.findings import TriedPath


def best_of_lengths(scores: Mapping[Composition, float]) -> list[Composition]:
    """The composition with the highest score of each number of added blocks, the fewest first.

    Among equals, that which was tried first.
    """
    best: dict[int, Composition] = {}
    for one in sorted(scores, key=lambda one: -scores[one]):
        if scores[one] > -math.inf:
            best.setdefault(n_added(one), one)
    return [best[n] for n in sorted(best)]


def is_on_front(path: TriedPath, tried: Sequence[TriedPath]) -> bool:
    """Whether neither another path nor the unmodified model is as good at every figure, and better
    at one: score, blocks and memory."""
    figures = [(other.score, *_costs(other)) for other in tried]
    own = (path.score, *_costs(path))
    return not any(_is_better(other, own) for other in [(0.0, 0, 0), *figures])


def _costs(path: TriedPath) -> tuple[int, int]:
    """Blocks, and bytes of weights and KV cache."""
    return path.cost.n_blocks, path.cost.n_bytes_weights + (path.cost.n_bytes_kv or 0)


def _is_better(one: tuple[float, int, int], other: tuple[float, int, int]) -> bool:
    is_as_good = one[0] >= other[0] and one[1] <= other[1] and one[2] <= other[2]
    return is_as_good and one != other
