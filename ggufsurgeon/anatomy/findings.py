"""The findings of an anatomy."""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.anatomy.bands import Bands
from ggufsurgeon.anatomy.pairs import PairReading
from ggufsurgeon.anatomy.prediction import Prediction
from ggufsurgeon.anatomy.similarity import Similarity
from ggufsurgeon.scanning.verdicts.findings import ScanFindings
from ggufsurgeon.statistics.estimate import Estimate


@dataclass(frozen=True)
class BlockFinding:
    """What a block does to the residual stream: means over the texts in plain English."""

    influence: Estimate
    """1 - cosine of what enters and leaves it (ShortGPT, arXiv 2403.03853)."""
    norm: Estimate
    """Euclidean norm of the residual stream after it."""
    added: Estimate
    """Euclidean norm of what it adds to the residual stream."""


@dataclass(frozen=True)
class LensFinding:
    """The logit lens after a block, for the token that the whole model finds most likely."""

    median_rank: float
    """Median of its rank over all positions, from 1; after the last block it is always 1."""
    probability: Estimate
    """Mean of its probability over texts."""
    share_first: float
    """Share of positions, from 0 to 1, where it already has rank 1."""


@dataclass(frozen=True)
class AnatomyFindings:
    """All findings on a model."""

    model: str
    """Name of the file."""
    architecture: str
    n_blocks: int
    contents: tuple[str, ...]
    """The contents that were read, in English."""
    input_norm: Estimate
    """Euclidean norm of the input of block 0."""
    blocks: tuple[BlockFinding, ...]
    similarity: Similarity
    bands: Bands | None
    """None if there is no run of blocks with a mean similarity above those of both sides."""
    bands_of_groups: dict[str, Bands | None]
    """The same for some pairs of forms alone, by the names of `similarity.GROUPS`."""
    lens: tuple[LensFinding, ...]
    """For each block; empty for a model that does not predict the next token."""
    pairs: tuple[PairReading, ...]
    scan: ScanFindings | None
    """The scan of a store, or of paths that drop a single block each, or both joined."""
    is_scan_from_store: bool
    predictions: tuple[Prediction, ...]
    """For each probe of the store that has enough windows and held-out items."""
    notes: tuple[str, ...] = ()
    """What was left out, a sentence each."""
