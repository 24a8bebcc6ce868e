"""From the scores in a store to findings: effects, ranks, p-values and a verdict. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.findings import PathCost, PathFinding, ProbeFindings
from ggufsurgeon.scanning.windows import scan_path
from ggufsurgeon.statistics.estimate import Estimate, mean_of
from ggufsurgeon.statistics.maximum import LEVEL, MaximumNull, held_out_items, maximum_null
from ggufsurgeon.store.scan_scores import ScannedPath

Values = npt.NDArray[np.float64]
LEAST_ITEMS = 5
"""Items of each half that a verdict needs: they have 32 sign patterns, of which one is 3 %."""


@dataclass(frozen=True)
class Split:
    """How items are split into those that choose the best path and those that judge it."""

    held_out: float = 0.5
    """The share of items that judge."""
    seed: int = 0


class ProbeData(NamedTuple):
    """What a store has of a probe."""

    name: str
    unit: str
    labels: Sequence[str]
    scores: Mapping[str, Mapping[int, float]]
    """By layer path and item."""


def judge(
    data: ProbeData, paths: Sequence[ScannedPath], n_blocks: int, split: Split
) -> ProbeFindings:
    """The findings of a probe on the items that all finished paths have."""
    base = data.scores.get(str(LayerPath.identity(n_blocks)), {})
    items = _common_items(data.scores, base)
    held_out = held_out_items(len(items), split.held_out, split.seed)
    bases = np.array([base[item] for item in items])
    found = {
        path.layer_path: _differences(data.scores.get(path.layer_path, {}), items, bases)
        for path in paths
    }
    scored = {name: values for name, values in found.items() if np.isfinite(values).all()}
    scored = {name: values for name, values in scored.items() if len(values) == len(items) >= 2}
    tests = _tests(scored, held_out, split.seed)
    rows = [_finding(path, n_blocks, found[path.layer_path], held_out, tests) for path in paths]
    rows.sort(key=lambda row: -math.inf if row.z is None else row.z, reverse=True)
    is_better, verdict = _verdict(rows, scored, held_out, split.seed)
    if base and not items:
        verdict = "No verdict: the logits of the unmodified model are not finite numbers."
    return ProbeFindings(
        probe=data.name,
        unit=data.unit,
        item_labels=tuple(data.labels[item] for item in items),
        item_bases=tuple(bases.tolist()),
        is_held_out=tuple(held_out.tolist()),
        paths=tuple(rows),
        luck_z=tests.luck_z,
        is_better=is_better,
        verdict=verdict,
    )


def _common_items(
    scores: Mapping[str, Mapping[int, float]], base: Mapping[int, float]
) -> list[int]:
    """The items that as many paths have as any: of an interrupted scan, the finished groups.

    Items on which the unmodified model's logits are not numbers are left out.
    """
    counts = Counter(item for of_path in scores.values() for item in of_path)
    most = max(counts.values(), default=0)
    return sorted(
        item for item, n in counts.items() if n == most and math.isfinite(base.get(item, math.nan))
    )


def _differences(scores: Mapping[int, float], items: Sequence[int], bases: Values) -> Values:
    """Differences from the unmodified model; empty where items are missing."""
    if not all(item in scores for item in items):
        return np.empty(0)
    return np.array([scores[item] for item in items]) - bases


@dataclass(frozen=True)
class _Tests:
    """z by the search items and p-values by all items, by layer path."""

    z: Mapping[str, float]
    p_values: Mapping[str, float]
    luck_z: float


def _tests(scored: Mapping[str, Values], held_out: npt.NDArray[np.bool_], seed: int) -> _Tests:
    if not scored or (~held_out).sum() < 2:
        return _Tests({}, {}, math.nan)
    differences = np.stack(list(scored.values()))
    search, over_all = (
        maximum_null(differences[:, items], seed)
        for items in (~held_out, np.ones(len(held_out), dtype=np.bool_))
    )
    return _Tests(
        dict(zip(scored, search.z.tolist(), strict=True)),
        dict(zip(scored, over_all.p_values.tolist(), strict=True)),
        search.luck_z,
    )


def _finding(
    path: ScannedPath,
    n_blocks: int,
    differences: Values,
    held_out: npt.NDArray[np.bool_],
    tests: _Tests,
) -> PathFinding:
    name = path.layer_path
    known = scan_path(LayerPath(name), n_blocks)
    first, end = known.window or (None, None)
    is_scored = name in tests.z
    values = differences if is_scored else np.empty(0)
    return PathFinding(
        layer_path=name,
        kind=known.kind,
        first=first,
        end=end,
        differences=tuple(values.tolist()),
        search=_mean(values[~held_out]) if is_scored else None,
        held_out=_mean(values[held_out]) if is_scored else None,
        z=tests.z.get(name),
        p_value=tests.p_values.get(name),
        problem="" if is_scored else _problem(path, differences),
        not_writable=path.not_writable,
        cost=PathCost(path.n_bytes_weights, path.n_bytes_kv, path.n_blocks),
    )


def _mean(values: Values) -> Estimate | None:
    return mean_of(values.tolist()) if len(values) else None


def _problem(path: ScannedPath, differences: Values) -> str:
    if path.refusal:
        return path.refusal
    if len(differences) == 0:
        return "not scanned yet"
    if not np.isfinite(differences).all():
        return "its logits are not finite numbers"
    return "too few items are scanned"


def _verdict(
    rows: Sequence[PathFinding],
    scored: Mapping[str, Values],
    held_out: npt.NDArray[np.bool_],
    seed: int,
) -> tuple[bool, str]:
    """Whether the best path by the search items is better, and why.

    Both tests must find it: the family-wise one over all items, and that of the held-out items
    alone. Either alone is wrong in at most 5 % of scans without effects.
    """
    if not scored:
        return False, "No path is scored yet."
    n_search, n_judging = int((~held_out).sum()), int(held_out.sum())
    if min(n_search, n_judging) < LEAST_ITEMS:
        return False, (
            f"No verdict: {n_search} items that choose the best path and {n_judging} that judge it "
            f"are too few; each needs {LEAST_ITEMS}."
        )
    best = rows[0]
    judged: MaximumNull = maximum_null(scored[best.layer_path][np.newaxis, held_out], seed)
    p_held_out, p_value = float(judged.p_values[0]), best.p_value or 0.0
    figures = (
        f"family-wise p = {p_value:.2g} over {len(scored)} paths, held-out p = {p_held_out:.2g}"
    )
    if p_value <= LEVEL and p_held_out <= LEVEL:
        return True, f"{best.layer_path} is better than the unmodified model: {figures}."
    return False, (
        f"Noise: the best path, {best.layer_path}, is not shown to be better than the unmodified "
        f"model ({figures})."
    )
