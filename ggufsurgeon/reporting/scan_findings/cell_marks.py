"""Marks on the cells of a map, which say what colour does not: the same in page and picture."""

from __future__ import annotations

from enum import Enum
from typing import Final

from ggufsurgeon.reporting.scan_findings.words import (
    ON_FEWER_ITEMS,
    State,
    is_significant,
    state_of,
)
from ggufsurgeon.scanning.verdicts.findings import PathFinding
from ggufsurgeon.statistics.maximum import LEVEL


class CellMark(Enum):
    """A mark, with its name in the page."""

    MISSING = "missing"
    UNSCORED = "unscored"
    LEFT_RACE = "left-race"
    NOT_WRITABLE = "not-writable"
    SURE = "sure"


MEANINGS: Final = {
    CellMark.MISSING: "not scanned yet",
    CellMark.UNSCORED: "no score: refused, or logits not finite",
    CellMark.LEFT_RACE: ON_FEWER_ITEMS,
    CellMark.NOT_WRITABLE: "can be run, but not written to a file",
    CellMark.SURE: f"p below {LEVEL}",
}


def marks_of(path: PathFinding) -> frozenset[CellMark]:
    """The marks of a path. One that has no score has no other mark than that."""
    state = state_of(path)
    if state is State.UNSCORED:
        return frozenset({CellMark.UNSCORED})
    is_scored = state is State.SCORED
    applies = {
        CellMark.MISSING: not is_scored,
        CellMark.LEFT_RACE: is_scored and bool(path.left_race),
        CellMark.NOT_WRITABLE: bool(path.not_writable),
        CellMark.SURE: is_scored and is_significant(path),
    }
    return frozenset(mark for mark, has_it in applies.items() if has_it)
