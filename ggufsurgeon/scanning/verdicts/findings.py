"""What a scan found: the effect of each layer path, how far luck reaches, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.statistics.estimate import Estimate


@dataclass(frozen=True)
class PathCost:
    """What a layer path takes beside the unmodified model."""

    n_bytes_weights: int
    """Bytes of repeated weights in a written file, less those that it drops."""
    n_bytes_kv: int | None
    """The same of a KV cache of 4096 tokens in f16; None where it is not known."""
    n_blocks: int
    """Blocks of the path, less those of the model: the compute of a token grows with them."""


@dataclass(frozen=True)
class PathFinding:
    """One layer path of a scan, compared with the unmodified model item by item.

    Differences are of scores, of which higher is better: above 0 the path is better.
    """

    layer_path: str
    kind: str
    """`window`, `drop` or `path`."""
    first: int | None
    """I of the window `I:J`; None for a path that is none."""
    end: int | None
    """J."""
    differences: tuple[float, ...]
    """Of each item, in the order of `ProbeFindings.item_labels`; empty unless it was scored. A path
    that has left a race has those of the first items alone."""
    search: Estimate | None
    """The mean difference over the items by which the best is chosen; None unless scored."""
    held_out: Estimate | None
    """The mean difference over the other items."""
    z: float | None
    """`search` in standard errors. The ranking is by it. None for a path that has left a race: its
    `search` is of fewer items than that of others."""
    p_value: float | None
    """Probability that the best of all paths would be as many standard errors above 0 over all
    items, if none had an effect: family-wise, step-down. None in a race, whose finalists were
    chosen by their scores."""
    problem: str = ""
    """Why there is no score: refused, not numbers, or not scanned yet."""
    left_race: str = ""
    """When it left the race, if it did; `search` and `differences` are of the items before."""
    not_writable: str = ""
    """Why no file of this path can be written; it can be run all the same."""
    cost: PathCost | None = None


@dataclass(frozen=True)
class ProbeFindings:
    """The layer paths of a scan by one probe, the best first; those without a score come last."""

    probe: str
    """Name of the probe, such as `text`."""
    unit: str
    """Unit of a score, such as `nats per token`."""
    item_labels: tuple[str, ...]
    item_bases: tuple[float, ...]
    """The score of the unmodified model on each item."""
    is_held_out: tuple[bool, ...]
    """Whether an item is kept out of the search."""
    paths: tuple[PathFinding, ...]
    luck_z: float
    """Standard errors that the best of all paths exceeds by luck alone in 5 % of scans; NaN for a
    race, and where nothing is scored."""
    is_better: bool
    """The verdict on the best path by the search items."""
    verdict: str
    """The verdict in a sentence."""
    notes: tuple[str, ...] = ()
    """What else a reader must know, a sentence each."""
    is_race: bool = False
    """Whether paths were left out as scores came. The held-out items alone judge the winner."""
    is_joint: bool = False
    """Whether these are several probes together, which then stand in place of items."""


@dataclass(frozen=True)
class ScanFindings:
    """All that a store knows of a model."""

    model: str
    """Name of the file."""
    header_sha256: str
    """SHA-256 of its header: another file with the same name is another model."""
    architecture: str
    n_blocks: int
    probes: tuple[ProbeFindings, ...]
    content_sha256: str | None = None
    """SHA-256 of the whole file, where a scan computed it."""
