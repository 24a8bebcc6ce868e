"""What each block is worth: the paths that drop it alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ggufsurgeon.reporting.scan_findings.words import ranked
from ggufsurgeon.scanning.verdicts.findings import PathFinding
from ggufsurgeon.statistics.estimate import Estimate


class Drop(NamedTuple):
    """A block, and what was found without it."""

    block: int
    number: int
    """Index in the probe's paths."""
    found: Estimate
    path: PathFinding


def single_drops(paths: Sequence[PathFinding]) -> list[Drop]:
    """The scored paths that drop one block, by its number."""
    drops = [
        Drop(path.first, index, path.search, path)
        for index, path in ranked(paths)
        if path.kind == "drop" and path.first is not None and path.end == path.first + 1
        if path.search is not None
    ]
    return sorted(drops)
