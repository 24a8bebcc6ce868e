"""From the scores of a race to findings: those of its finalists, and a verdict. Pure.

The paths that are left at the end of a race are chosen by their scores, so that no null of all
paths fits them. The verdict stands on the held-out items, of which the race knows nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.racing.race import Course, Race
from ggufsurgeon.scanning.verdicts.findings import PathFinding, ProbeFindings
from ggufsurgeon.scanning.verdicts.judging import (
    ProbeData,
    Tested,
    held_out_p_value,
    path_finding,
    problem_of,
    too_few,
)
from ggufsurgeon.statistics.maximum import LEVEL, studentised
from ggufsurgeon.store.scan_scores import ScannedPath

Flags = npt.NDArray[np.bool_]


def judge_race(
    data: ProbeData, paths: Sequence[ScannedPath], n_blocks: int, race: Race
) -> ProbeFindings:
    """The findings of a probe that was raced, each path on the items that it was run on.

    Paths that were run on all search items come first, ranked by them, then those that left, the
    last to leave first.
    """
    scores = _Scores(data, race.course(len(data.labels)), n_blocks)
    is_held_out = np.array(
        [item >= scores.course.n_search for item in scores.items], dtype=np.bool_
    )
    rows = [path_finding(scores.tested(path), n_blocks, is_held_out) for path in paths]
    rows.sort(key=_rank, reverse=True)
    is_better, verdict = _verdict(rows, is_held_out, scores, race.seed)
    return ProbeFindings(
        probe=data.name,
        unit=data.unit,
        item_labels=tuple(data.labels[item] for item in scores.items),
        item_bases=tuple(scores.base[item] for item in scores.items),
        is_held_out=tuple(is_held_out.tolist()),
        paths=tuple(rows),
        luck_z=math.nan,
        is_better=is_better,
        verdict=verdict,
        is_race=True,
    )


class _Scores:
    """The scores of a race, with items numbered in its order."""

    def __init__(self, data: ProbeData, course: Course, n_blocks: int) -> None:
        base = str(LayerPath.identity(n_blocks))
        self.course = course
        self._scores, self._n_items = data.scores, len(data.labels)
        self.base = data.scores.get(base, {})
        self.items = [item for item in sorted(self.base) if math.isfinite(self.base[item])]
        """Those on which the unmodified model has a finite score so far."""
        self._is_over = any(map(self.is_judged, self._scores.keys() - {base}))

    def is_judged(self, layer_path: str) -> bool:
        """Whether a path was run on all items, the held-out ones too."""
        return len(self._scores.get(layer_path, {})) == len(self.base) == self._n_items

    def tested(self, path: ScannedPath) -> Tested:
        """A path, on the items up to the first that it was not run on."""
        found = self._scores.get(path.layer_path, {})
        items = list(takewhile(found.__contains__, self.items))
        differences = np.array([found[item] - self.base[item] for item in items], dtype=np.float64)
        if not len(differences) or not np.isfinite(differences).all():
            return Tested(path, np.empty(0), problem=problem_of(path, differences))
        n_search = self.course.n_search
        search = differences[: sum(item < n_search for item in items)]
        if not all(item in found for item in range(n_search)):
            text = f"{len(items)} of {n_search} search items"
            left = f"left the race after {text}" if self._is_over else f"{text} so far"
            return Tested(path, differences, left_race=left)
        if len(search) < 2:
            return Tested(path, np.empty(0), problem=problem_of(path, differences))
        return Tested(path, differences, z=float(studentised(search[np.newaxis])[0]))


def _rank(row: PathFinding) -> tuple[float, int, float]:
    """Greater for better paths: by z, by the items before it left, by their mean."""
    z = -math.inf if row.z is None else row.z
    mean = -math.inf if row.search is None else row.search.value
    return z, len(row.differences), mean


def _verdict(
    rows: Sequence[PathFinding], is_held_out: Flags, scores: _Scores, seed: int
) -> tuple[bool, str]:
    """Whether the winner of the race is better, and why, by the held-out items alone.

    It is wrong in at most 5 % of races without effects: the race did not see these items.
    """
    if not rows or rows[0].search is None:
        return False, "No path is scored yet."
    best = rows[0]
    if best.z is None or not scores.is_judged(best.layer_path):
        return False, "No verdict: the race is not over."
    n_held_out = int(is_held_out.sum())
    if problem := too_few(len(is_held_out) - n_held_out, n_held_out):
        return False, problem
    p_value = held_out_p_value(np.array(best.differences)[is_held_out], seed)
    figures = f"p = {p_value:.2g} over {n_held_out} held-out items, which the race did not use"
    if p_value <= LEVEL:
        return True, f"{best.layer_path} is better than the unmodified model: {figures}."
    return False, (
        f"Noise: the winner of the race, {best.layer_path}, is not shown to be better than the "
        f"unmodified model ({figures})."
    )
