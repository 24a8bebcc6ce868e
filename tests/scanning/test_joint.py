"""Several probes together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ggufsurgeon.scanning.verdicts.findings import ProbeFindings
from ggufsurgeon.scanning.verdicts.joint import joint_findings
from ggufsurgeon.statistics.estimate import Estimate
from tests.scanning.test_judging import N_ITEMS, PATHS, judged, scores


def probes(effect: float, n: int = 3) -> list[ProbeFindings]:
    found = [judged(scores(effect, seed)) for seed in range(n)]
    return [dataclasses.replace(one, probe=f"probe {number}") for number, one in enumerate(found)]


def joined(found: list[ProbeFindings]) -> ProbeFindings:
    joint = joint_findings(found, 0)
    assert joint is not None
    return joint


def test_an_effect_too_small_for_one_probe_is_found_by_all() -> None:
    found = probes(0.35, 6)
    joint = joined(found)
    assert sum(one.is_better for one in found) <= 1
    assert joint.is_better and joint.paths[0].layer_path == PATHS[3]
    assert joint.verdict.startswith(f"{PATHS[3]} is better")


def test_wrong_verdicts_are_rare() -> None:
    n = 0
    for seed in range(60):
        two = [judged(scores(seed=2 * seed + k)) for k in range(2)]
        n += joined(two).is_better
    assert n <= 3


def test_z_is_stouffers() -> None:
    found = probes(0.5)
    joint = joined(found)
    for path in joint.paths:
        z = [next(p.z for p in one.paths if p.layer_path == path.layer_path) for one in found]
        assert path.differences == pytest.approx(z)
        assert path.z == pytest.approx(sum(map(float, path.differences)) / 3**0.5)
        assert path.z is not None and path.search == Estimate(path.z, 1.0)
        held_out = path.held_out
        assert held_out is not None and held_out.error == 1.0
        by_probe = [next(p for p in one.paths if p.layer_path == path.layer_path) for one in found]
        means = [one.held_out for one in by_probe]
        expected = sum(m.value / m.error for m in means if m and m.error) / 3**0.5
        assert held_out.value == pytest.approx(expected)
    assert joint.item_labels == ("probe 0", "probe 1", "probe 2")
    ranked = [path.z or 0.0 for path in joint.paths]
    assert ranked == sorted(ranked, reverse=True)


def test_units_do_not_matter() -> None:
    one, other = probes(0.5, 2)
    larger = scores(0.5, 1)
    rescaled = {path: {n: 1e6 * v for n, v in of.items()} for path, of in larger.items()}
    again = joined([one, dataclasses.replace(judged(rescaled), probe=other.probe)])
    before = joined([one, other])
    assert [p.layer_path for p in again.paths] == [p.layer_path for p in before.paths]
    assert [p.z for p in again.paths] == pytest.approx([p.z for p in before.paths])


def test_only_paths_that_all_have_scored() -> None:
    one, other = probes(0.0, 2)
    few = scores(seed=1)
    for path in PATHS[4:]:
        del few[path]
    joint = joined([one, dataclasses.replace(judged(few), probe=other.probe)])
    assert {path.layer_path for path in joint.paths} == set(PATHS[:4])


def test_nothing_to_join() -> None:
    (one,) = probes(0.0, 1)
    assert joint_findings([], 0) is None and joint_findings([one], 0) is None
    nothing = scores(seed=1)
    for path in PATHS:
        del nothing[path]
    assert joint_findings([one, judged(nothing)], 0) is None


def test_few_items_give_no_verdict() -> None:
    few = {path: {n: of[n] for n in range(6)} for path, of in scores(5.0, 1).items()}
    joint = joined([probes(5.0, 1)[0], judged(few)])
    assert not joint.is_better and joint.verdict.startswith("No verdict: 3 items")
    assert np.isfinite(joint.luck_z) and N_ITEMS > 6
