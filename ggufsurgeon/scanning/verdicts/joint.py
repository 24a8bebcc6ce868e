"""Several probes at once: paths ranked by the sum of their standardised effects. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ggufsurgeon.scanning.verdicts.findings import PathFinding, ProbeFindings
from ggufsurgeon.scanning.verdicts.judging import too_few, verdict_on
from ggufsurgeon.statistics.estimate import Estimate
from ggufsurgeon.statistics.maximum import MaximumNull, Values, maximum_null, studentised

JOINT = "joint"
"""Name of the findings of all probes together; no probe can have it."""
UNIT = "standard errors"
LEAST_OF_A_NULL = 2
"""Items that a standard error needs."""


def joint_findings(probes: Sequence[ProbeFindings], seed: int) -> ProbeFindings | None:
    """The paths that all probes have scored, by the sum of their z over sqrt(n_probes).

    That is Stouffer's z (The American Soldier, vol. 1, 1949, p. 45): every probe weighs the same,
    whatever its unit, and 1 is the standard error of a path without effect. It takes the items of
    one probe to be independent of those of another. In place of items the findings have the probes,
    with the z of each by its search items. None for fewer than two probes, without a path that
    both have, or where a probe has no items to search by or to judge by.
    """
    common = _common_paths(probes)
    if len(probes) < 2 or not common:
        return None
    halves = _Halves([_differences(probe, common) for probe in probes], probes)
    n_search, n_held_out = (min(part.shape[1] for part in half) for half in halves.both)
    if min(n_search, n_held_out) < LEAST_OF_A_NULL:
        return None
    return _findings(probes, common, halves, seed, too_few(n_search, n_held_out))


class _Halves:
    """The differences of each probe, [n_paths, n_items], by what its items are for."""

    def __init__(self, differences: Sequence[Values], probes: Sequence[ProbeFindings]) -> None:
        self.whole = differences
        flags = [np.array(probe.is_held_out, dtype=np.bool_) for probe in probes]
        pairs = list(zip(differences, flags, strict=True))
        self.search = [values[:, ~is_held_out] for values, is_held_out in pairs]
        self.held_out = [values[:, is_held_out] for values, is_held_out in pairs]

    @property
    def both(self) -> tuple[Sequence[Values], Sequence[Values]]:
        return self.search, self.held_out


def _findings(
    probes: Sequence[ProbeFindings],
    common: Sequence[str],
    halves: _Halves,
    seed: int,
    problem: str,
) -> ProbeFindings:
    search = maximum_null(*halves.search, seed=seed)
    rows = _rows(probes, common, halves, search, maximum_null(*halves.whole, seed=seed))
    best = common.index(rows[0].layer_path)
    alone = maximum_null(*(part[best : best + 1] for part in halves.held_out), seed=seed)
    is_better, verdict = verdict_on(rows[0], len(rows), float(alone.p_values[0]))
    return ProbeFindings(
        probe=JOINT,
        unit=UNIT,
        item_labels=tuple(probe.probe for probe in probes),
        item_bases=(0.0,) * len(probes),
        is_held_out=(False,) * len(probes),
        paths=tuple(rows),
        luck_z=search.luck_z,
        is_better=is_better and not problem,
        verdict=problem or verdict,
        is_joint=True,
    )


def _rows(
    probes: Sequence[ProbeFindings],
    common: Sequence[str],
    halves: _Halves,
    search: MaximumNull,
    whole: MaximumNull,
) -> list[PathFinding]:
    """The paths, the best first."""
    by_path = [_by_path(probe) for probe in probes]
    held_out = studentised(*halves.held_out)
    rows = [
        dataclasses.replace(
            by_path[0][path],
            differences=tuple(float(found[path].z or 0.0) for found in by_path),
            search=Estimate(float(search.z[n]), 1.0),
            held_out=Estimate(float(held_out[n]), 1.0),
            z=float(search.z[n]),
            p_value=float(whole.p_values[n]),
        )
        for n, path in enumerate(common)
    ]
    return sorted(rows, key=lambda row: row.z or 0.0, reverse=True)


def _common_paths(probes: Sequence[ProbeFindings]) -> list[str]:
    scored = [{path.layer_path for path in probe.paths if path.z is not None} for probe in probes]
    return [
        path.layer_path
        for probe in probes[:1]
        for path in probe.paths
        if all(path.layer_path in names for names in scored)
    ]


def _differences(probe: ProbeFindings, paths: Sequence[str]) -> Values:
    by_path = _by_path(probe)
    return np.array([by_path[path].differences for path in paths], dtype=np.float64)


def _by_path(probe: ProbeFindings) -> dict[str, PathFinding]:
    return {path.layer_path: path for path in probe.paths}
