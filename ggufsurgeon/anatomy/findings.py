"""What an anatomy found of a model."""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.anatomy.bands import Bands
from ggufsurgeon.anatomy.pairs import PairReading
from ggufsurgeon.anatomy.prediction import Prediction
from ggufsurgeon.anatomy.similarity import Similarity
from ggufsurgeon.scanning.findings import ScanFindings
from ggufsurgeon.statistics.estimate import Estimate


@dataclass(frozen=True)
class BlockFinding:
    """What a block does to the residual stream of plain English; means over texts."""

    influence: Estimate
    """1 - cosine of what enters and leaves it (ShortGPT, arXiv 2403.03853)."""
    norm: Estimate
    """Euclidean norm of the stream behind it."""
    added: Estimate
    """Euclidean norm of what it adds to the stream."""


@dataclass(frozen=True)
class LensFinding:
    """How the token that the whole model finds most likely fares behind a block."""

    median_rank: float
    """From 1: behind the last block it is always 1."""
    probability: Estimate
    """Mean over texts of its probability."""
    share_first: float
    """Share of positions where it is the most likely one already."""


@dataclass(frozen=True)
class AnatomyFindings:
    """All that was found of a model."""

    model: str
    """Name of the file."""
    architecture: str
    n_blocks: int
    contents: tuple[str, ...]
    """In English."""
    input_norm: Estimate
    """Euclidean norm of what feeds block 0."""
    blocks: tuple[BlockFinding, ...]
    similarity: Similarity
    bands: Bands | None
    """None where no run of blocks has contents more alike than those on either side."""
    bands_of_groups: dict[str, Bands | None]
    """The same of some pairs of clothes alone, by the names of `similarity.GROUPS`."""
    lens: tuple[LensFinding, ...]
    """Of each block; empty for an encoder."""
    pairs: tuple[PairReading, ...]
    scan: ScanFindings | None
    """A scan of the model: that of a store, or of single dropped blocks that was run for this."""
    is_scan_from_store: bool
    predictions: tuple[Prediction, ...]
    """Of each probe of the store that has enough windows."""
    notes: tuple[str, ...] = ()
    """What was left out, a sentence each."""
