"""What a search found: the best path of each length, what luck explains, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.scanning.search.limits import SearchItems, SearchLimits
from ggufsurgeon.scanning.verdicts.findings import PathCost
from ggufsurgeon.statistics.estimate import Estimate


@dataclass(frozen=True)
class TriedPath:
    """A path that a search has run on its search items."""

    layer_path: str
    score: float
    """The mean difference from the unmodified model less its standard error: what the search
    compares."""
    search: Estimate
    """The mean difference."""
    cost: PathCost
    relative_speed: float
    """Tokens per second of generation, as a multiple of the model's: predicted from the weights
    that a token is multiplied by, which is what limits generation."""


@dataclass(frozen=True)
class BestOfLength:
    """The best of all tried paths of as many blocks, by the search items."""

    path: TriedPath
    held_out: Estimate | None
    """The mean difference over the held-out items; None before they have been run."""
    p_value: float | None
    """Probability that the best of these paths, one of each length, would be as many standard
    errors above 0 over the held-out items, if none had an effect: family-wise, step-down."""
    is_on_front: bool
    """Whether no shorter path that takes less memory, nor the unmodified model, has a higher
    score."""


@dataclass(frozen=True)
class SearchLuck:
    """What the whole search reaches by luck, by its replays on differences of random signs."""

    n_replays: int
    score: float
    """The score on its search items that the best path of a replay exceeds in 5 % of them."""
    p_value: float
    """The share of the replays whose best path has at least the score of this search's, each count
    raised by one."""


@dataclass(frozen=True)
class SearchFindings:
    """A search from a scan, over one model by one probe."""

    probe: str
    unit: str
    limits: SearchLimits
    items: SearchItems
    n_search: int
    """Search items."""
    n_held_out: int
    n_scanned: int
    """Windows of the scan that it began with."""
    n_singles: int
    """Those of them that it composed."""
    tried: tuple[TriedPath, ...]
    """All that it ran, the best by score first."""
    best: tuple[BestOfLength, ...]
    """The shortest first."""
    luck: SearchLuck | None
    """None before the search is over."""
    held_out_luck_z: float
    """Standard errors that the best of `best` exceeds over the held-out items by luck alone in 5 %
    of searches; NaN before they have been run."""
    is_better: bool
    """Whether one of `best` is shown to be better than the unmodified model."""
    verdict: str
    """The verdict in a sentence or two."""
