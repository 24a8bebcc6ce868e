"""The windows of a scan that a search composes: those that gain most on its search items. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ggufsurgeon.layer_path.edits import Drop, Repeat, WindowEdit
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.search.beam import lower_bounds
from ggufsurgeon.scanning.search.candidates import Composition, n_added
from ggufsurgeon.scanning.search.limits import SearchLimits
from ggufsurgeon.scanning.windows import scan_path
from ggufsurgeon.statistics.maximum import Values

Scores = Mapping[str, Mapping[int, float]]
"""By layer path and item."""


class Singles(NamedTuple):
    """Windows that a scan has repeated or dropped."""

    edits: tuple[WindowEdit, ...]
    differences: Values
    """From the unmodified model on the items of a search, [n_edits, n_items]; finite."""


def scanned_singles(scores: Scores, n_blocks: int, items: Sequence[int]) -> Singles:
    """The windows of a scan that have a finite score on each of these items.

    Paths that are no single window, named in full for the scan, are none of them, nor are repeats
    of the strength 0, which do nothing. Raises KeyError where the unmodified model has no score.
    """
    bases = scores[str(LayerPath.identity(n_blocks))]
    edits, rows = [], []
    for name, found in scores.items():
        edit = scan_path(LayerPath(name), n_blocks).edit
        values = [found.get(item, math.nan) - bases.get(item, math.nan) for item in items]
        if edit is None or (isinstance(edit, Repeat) and edit.strength == 0):
            continue
        if all(map(math.isfinite, values)):
            edits.append(edit)
            rows.append(values)
    return Singles(tuple(edits), np.array(rows, dtype=np.float64).reshape(len(edits), len(items)))


def chosen_singles(
    singles: Singles, limits: SearchLimits, is_possible: Callable[[Composition], bool]
) -> tuple[WindowEdit, ...]:
    """The best of them, the best first: of a window that was repeated in several ways, one."""
    bounds = lower_bounds(singles.differences)
    chosen: dict[tuple[object, bool], WindowEdit] = {}
    for place in np.argsort(-bounds, kind="stable").tolist():
        edit = singles.edits[place]
        key = edit.windows, isinstance(edit, Drop)
        is_new = key not in chosen and n_added((edit,)) <= limits.max_blocks
        if is_new and is_possible((edit,)):
            chosen[key] = edit
        if len(chosen) == limits.n_singles:
            break
    return tuple(chosen.values())
