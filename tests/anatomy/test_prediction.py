"""Whether bands predict windows: planted relations are found, unrelated ones are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from ggufsurgeon.anatomy.prediction import predict_windows
from ggufsurgeon.scanning.verdicts.findings import PathFinding, ProbeFindings

N_BLOCKS, N_ITEMS, N_CONTENTS = 20, 16, 12
HELD_OUT = tuple(k % 2 == 1 for k in range(N_ITEMS))
Profile = npt.NDArray[np.float64]


def smooth(seed: int) -> Profile:
    """A curve over the blocks, whose neighbours are alike."""
    steps = np.random.default_rng(seed).normal(0, 1, N_BLOCKS + 4)
    return np.convolve(steps, np.ones(5) / 5, mode="valid")


def curves(profile: Profile, seed: int = 0) -> Profile:
    generator = np.random.default_rng(seed)
    return np.asarray(profile + generator.normal(0, 0.05, (N_CONTENTS, N_BLOCKS)))


def probe(profile: Profile, *, per_block: float = 0.0, seed: int = 0) -> ProbeFindings:
    """Windows whose effect is the mean of a profile within them, less something for each block."""
    generator = np.random.default_rng(seed)
    paths = []
    for first in range(N_BLOCKS):
        for end in range(first + 1, N_BLOCKS + 1):
            effect = profile[first:end].mean() - per_block * (end - first)
            values = effect + generator.normal(0, 0.05, N_ITEMS)
            paths.append(path(first, end, values))
    return ProbeFindings(
        "text", "nats", ("",) * N_ITEMS, (0.0,) * N_ITEMS, HELD_OUT, tuple(paths), 3.0, False, ""
    )


def path(first: int, end: int, values: Profile, kind: str = "window") -> PathFinding:
    return PathFinding(
        f"{first}:{end}", kind, first, end, tuple(values.tolist()), None, None, None, None
    )


def test_a_planted_relation_is_found_whatever_length_does() -> None:
    profile = smooth(1)
    for per_block in (0.0, 5.0):
        found = predict_windows(curves(profile), probe(profile, per_block=per_block), 0)
        assert found is not None and found.is_found
        assert found.correlation > 0.9 and found.interval[0] > 0.8
        assert found.p_value == pytest.approx(1 / 40) and found.n_placements == 40
        assert (found.n_windows, found.n_items) == (210, 8)
        plain = found.plain
    assert abs(plain) < 0.5, "length hides it where it is not taken away"


def test_the_opposite_is_told() -> None:
    profile = smooth(2)
    found = predict_windows(curves(profile), probe(-profile), 0)
    assert found is not None and found.is_found and found.correlation < -0.9


def test_unrelated_curves_are_rarely_found_though_they_are_smooth() -> None:
    found = [
        predict_windows(curves(smooth(seed)), probe(smooth(seed + 1000), seed=seed), seed)
        for seed in range(16)
    ]
    assert sum(each is not None and each.is_found for each in found) <= 3
    assert np.mean([abs(each.correlation) for each in found if each is not None]) > 0.1


def test_search_items_have_no_part() -> None:
    profile = smooth(3)
    whole = probe(profile)
    is_search = ~np.array(HELD_OUT)
    spoilt = [
        replace(each, differences=tuple(np.array(each.differences) + 99.0 * is_search * (n % 7)))
        for n, each in enumerate(whole.paths)
    ]
    other = predict_windows(curves(profile), replace(whole, paths=tuple(spoilt)), 0)
    assert other == predict_windows(curves(profile), whole, 0)


def test_other_kinds_of_paths_have_no_part() -> None:
    profile = smooth(4)
    whole = probe(profile)
    broken = [
        path(0, 3, np.full(N_ITEMS, np.nan)),
        path(0, 3, np.ones(3)),
        path(0, 3, np.ones(N_ITEMS), "drop"),
        replace(path(0, 3, np.ones(N_ITEMS)), left_race="it left the race"),
    ]
    more = replace(whole, paths=(*whole.paths, *broken))
    assert predict_windows(curves(profile), more, 0) == predict_windows(curves(profile), whole, 0)


def test_too_little_says_nothing() -> None:
    profile = smooth(5)
    whole = probe(profile)
    assert predict_windows(curves(profile), replace(whole, paths=whole.paths[:5]), 0) is None
    assert predict_windows(curves(profile), replace(whole, is_joint=True), 0) is None
    one = replace(whole, is_held_out=(True, *(False,) * (N_ITEMS - 1)))
    assert predict_windows(curves(profile), one, 0) is None
    apart = [each for each in whole.paths if each.first == 0]  # each of another length
    assert predict_windows(curves(profile), replace(whole, paths=tuple(apart)), 0) is None
