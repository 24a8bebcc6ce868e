"""Blocks of a model as `inspect` shows them: their kinds, and which windows can be repeated."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.output.terminal import print_table, print_text
from ggufsurgeon.layer_path.path import LayerPath

if TYPE_CHECKING:
    from ggufsurgeon.api.model_files.inspection import Inspection
    from ggufsurgeon.rules.windows import Judgement

MARKS = {"exact": "#", "exact on recent builds": "+", "refused": "."}
WIDEST_MAP = 100
"""Largest number of blocks of a map of windows, in characters of a line."""

_NUMBERS = re.compile(r"\b(?:blocks? |with |every |has )\d+(?: (?:to|and) \d+)?|\d+ blocks")


def status(judgement: Judgement) -> str:
    """The judgement as one of the keys of MARKS."""
    if judgement.refusal:
        return "refused"
    return "exact on recent builds" if judgement.notes else "exact"


def blocks_as_json(inspection: Inspection) -> dict[str, Any]:
    """Kinds and windows as JSON; of the windows, those that are not simply exact."""
    counts = Counter(status(judgement) for judgement in inspection.windows)
    special = {
        "{}:{}".format(*judgement.window): judgement.refusal or "; ".join(judgement.notes)
        for judgement in inspection.windows
        if status(judgement) != "exact"
    }
    return {"kinds": list(inspection.kinds), "windows": dict(counts), "special_windows": special}


def print_blocks(inspection: Inspection) -> None:
    """Kinds as a table, windows as counts with reasons and, unless all are exact, as a map."""
    kinds = dict.fromkeys(kind for kind in inspection.kinds if kind)
    rows = [(kind, _where(inspection.kinds, kind)) for kind in kinds]
    if rows:
        print_table("Blocks", ["kind", "which"], rows)
    counts = Counter((status(j), _reason(j)) for j in inspection.windows)
    if inspection.windows:
        rows_of = [(f"{n}", found, reason) for (found, reason), n in counts.most_common(8)]
        print_table("Windows I:J, run twice", ["how many", "", "why"], rows_of)
    if len({status(judgement) for judgement in inspection.windows}) > 1:
        _print_map(inspection.windows)


def _reason(judgement: Judgement) -> str:
    """The reason without the numbers of blocks, which differ from window to window."""
    if judgement.refusal:
        return _NUMBERS.sub(lambda found: re.sub(r"\d+", "N", found[0]), judgement.refusal)
    return "; ".join(judgement.notes)


def _where(kinds: Sequence[str], kind: str) -> str:
    return str(LayerPath.of(n for n, found in enumerate(kinds) if found == kind))


def _print_map(windows: Sequence[Judgement]) -> None:
    """Print a map of windows: a row for each I, a column for each J."""
    n_blocks = max(end for (_, end), _, _ in windows)
    if n_blocks > WIDEST_MAP:
        return
    legend = ", ".join(f"{mark} {meaning}" for meaning, mark in MARKS.items())
    print_text(f"{legend}; a row for each I from 0 down, a column for each J from 1 on\n")
    rows = [[" "] * n_blocks for _ in range(n_blocks)]
    for judgement in windows:
        first, end = judgement.window
        rows[first][end - 1] = MARKS[status(judgement)]
    for first, row in enumerate(rows):
        print_text(f"{first:4} {''.join(row)}")
