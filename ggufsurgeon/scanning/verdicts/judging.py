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
from ggufsurgeon.scanning.verdicts.findings import PathCost, PathFinding, ProbeFindings
from ggufsurgeon.scanning.windows import scan_path
from ggufsurgeon.statistics.estimate import Estimate, mean_of
from ggufsurgeon.statistics.maximum import (
    LEAST_ITEMS,
    LEVEL,
    held_out_items,
    maximum_null,
)
from ggufsurgeon.store.scan_scores import ScannedPath

Values = npt.NDArray[np.float64]
NOT_SCANNED = "not scanned yet"
"""The problem of a path without scores."""


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


class Tested(NamedTuple):
    """A path with what is known of its score."""

    path: ScannedPath
    differences: Values
    """From the unmodified model, on the first of all items, [n_scored_items]."""
    z: float | None = None
    p_value: float | None = None
    problem: str = ""
    left_race: str = ""


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
    tested = [_tested(path, found[path.layer_path], tests) for path in paths]
    rows = [path_finding(one, n_blocks, held_out) for one in tested]
    rows.sort(key=lambda row: -math.inf if row.z is None else row.z, reverse=True)
    is_better, verdict = _verdict(rows, scored, held_out, split.seed)
    if base and not items:
        verdict = "No verdict: the scores of the unmodified model are not finite numbers."
    elif missing := _missing(data, tested, items):
        is_better, verdict = False, f"No verdict: the scan is not finished, {missing}."
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
        notes=_notes(data, base, items),
    )


def _missing(data: ProbeData, tested: Sequence[Tested], items: Sequence[int]) -> str:
    """What of a scan has not been run; empty if nothing."""
    n_unscanned = sum(one.problem == NOT_SCANNED for one in tested)
    if n_unscanned:
        return f"{n_unscanned} of {len(tested)} paths have no score yet"
    if any(len(of_path) < len(data.labels) for of_path in data.scores.values()):
        return f"{len(items)} of {len(data.labels)} items are scored along all paths"
    return ""


def _notes(data: ProbeData, base: Mapping[int, float], items: Sequence[int]) -> tuple[str, ...]:
    n_broken = sum(not math.isfinite(score) for score in base.values())
    notes = []
    if n_broken and items:
        notes.append(
            f"Items left out, since the unmodified model has no finite score there: {n_broken} "
            f"of {len(data.labels)}."
        )
    return tuple(notes)


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
        maximum_null(differences[:, items], seed=seed)
        for items in (~held_out, np.ones(len(held_out), dtype=np.bool_))
    )
    return _Tests(
        dict(zip(scored, search.z.tolist(), strict=True)),
        dict(zip(scored, over_all.p_values.tolist(), strict=True)),
        search.luck_z,
    )


def path_finding(tested: Tested, n_blocks: int, held_out: npt.NDArray[np.bool_]) -> PathFinding:
    """The finding of a path, whose differences are of the first of all items."""
    path, values = tested.path, tested.differences
    held_out = held_out[: len(values)]
    known = scan_path(LayerPath(path.layer_path), n_blocks)
    first, end = known.window or (None, None)
    return PathFinding(
        layer_path=path.layer_path,
        kind=known.kind,
        first=first,
        end=end,
        differences=tuple(values.tolist()),
        search=_mean(values[~held_out]),
        held_out=_mean(values[held_out]),
        z=tested.z,
        p_value=tested.p_value,
        problem=tested.problem,
        left_race=tested.left_race,
        not_writable=path.not_writable,
        cost=PathCost(path.n_bytes_weights, path.n_bytes_kv, path.n_blocks),
    )


def _tested(path: ScannedPath, differences: Values, tests: _Tests) -> Tested:
    name = path.layer_path
    if name not in tests.z:
        return Tested(path, np.empty(0), problem=problem_of(path, differences))
    return Tested(path, differences, tests.z[name], tests.p_values[name])


def _mean(values: Values) -> Estimate | None:
    return mean_of(values.tolist()) if len(values) else None


def problem_of(path: ScannedPath, differences: Values) -> str:
    """Why a path has no score that can be tested."""
    if path.refusal:
        return path.refusal
    if len(differences) == 0:
        return NOT_SCANNED
    if not np.isfinite(differences).all():
        return "its scores are not finite numbers"
    return "too few items are scanned"


def held_out_p_value(differences: Values, seed: int) -> float:
    """The one-sided p-value of a single path by items that did not choose it."""
    return float(maximum_null(differences[np.newaxis], seed=seed).p_values[0])


def too_few(n_search: int, n_held_out: int) -> str:
    """Why so many items allow no verdict; empty if they do."""
    if min(n_search, n_held_out) >= LEAST_ITEMS:
        return ""
    return (
        f"No verdict: {n_search} items that choose the best path and {n_held_out} that judge it "
        f"are too few; each needs {LEAST_ITEMS}."
    )


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
    if problem := too_few(int((~held_out).sum()), int(held_out.sum())):
        return False, problem
    best = rows[0]
    p_held_out = held_out_p_value(scored[best.layer_path][held_out], seed)
    return verdict_on(best, len(scored), p_held_out)


def verdict_on(best: PathFinding, n_paths: int, p_held_out: float) -> tuple[bool, str]:
    """Whether the best path is better by both of its tests, and why."""
    p_value = best.p_value or 0.0
    figures = f"family-wise p = {p_value:.2g} over {n_paths} paths, held-out p = {p_held_out:.2g}"
    if p_value <= LEVEL and p_held_out <= LEVEL:
        return True, f"{best.layer_path} is better than the unmodified model: {figures}."
    return False, (
        f"Noise: the best path, {best.layer_path}, is not shown to be better than the unmodified "
        f"model ({figures})."
    )
