"""Similarity of contents: by hand, and on made-up states with and without common content."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ggufsurgeon.anatomy.contents import CLOTHES
from ggufsurgeon.anatomy.similarity import (
    GROUPS,
    PAIRS,
    content_cosines,
    excess_of_contents,
    similarity,
)

N_CONTENTS, N_STATES, N_VALUES = 9, 4, 24


def pooled(share: float, seed: int) -> npt.NDArray[np.float32]:
    """States of which a part is common to all forms, and each form has an offset."""
    generator = np.random.default_rng(seed)
    shape = N_CONTENTS, len(CLOTHES), N_STATES, N_VALUES
    common = generator.normal(0, share, (N_CONTENTS, 1, N_STATES, N_VALUES))
    offset = generator.normal(0, 30, (1, *shape[1:]))
    return (common + offset + generator.normal(0, 1, shape)).astype(np.float32)


def test_cosines_by_hand() -> None:
    states = pooled(0.5, 0)
    found = content_cosines(states)
    assert found.shape == (21, N_STATES, N_CONTENTS, N_CONTENTS)
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    for pair, (one, other) in enumerate(PAIRS):
        for row, column in ((0, 0), (2, 5)):
            a, b = centred[row, one, 1], centred[column, other, 1]
            cosine = a @ b / np.sqrt((a @ a) * (b @ b))
            assert found[pair, 1, row, column] == pytest.approx(cosine, abs=1e-5)


def test_excess_by_hand() -> None:
    cosines = np.zeros((21, 1, 3, 3), dtype=np.float32)
    cosines[:] = [[0.5, 0.1, 0.3], [0.2, 0.4, 0.0], [0.0, 0.0, 0.6]]
    # content 0: 0.5 - mean of 0.1, 0.3 (its row) and 0.2, 0.0 (its column)
    expected = [0.5 - 0.15, 0.4 - 0.075, 0.6 - 0.075]
    assert excess_of_contents(cosines)[:, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_groups_are_pairs_of_their_forms() -> None:
    cosines = np.zeros((21, 1, 3, 3), dtype=np.float32)
    german_french, english_hex = PAIRS.index((1, 2)), PAIRS.index((0, 6))
    cosines[german_french] = np.eye(3) * 0.6
    cosines[english_hex] = np.eye(3) * 0.9
    found = {group: excess_of_contents(cosines, group)[0, 0] for group in GROUPS}
    assert list(found.values()) == pytest.approx([0.6 / 6, 0.0, 0.9 / 11])
    counts = [sum(members) for members in GROUPS.values()]
    assert counts == [6, 4, 11] and sum(counts) == len(PAIRS)


def test_what_forms_have_in_common_does_not_count() -> None:
    states = pooled(0.5, 1)
    shifted = states + np.random.default_rng(2).normal(0, 5, (1, *states.shape[1:]))
    np.testing.assert_allclose(
        content_cosines(states), content_cosines(shifted.astype(np.float32)), atol=1e-4
    )


def test_common_content_is_found() -> None:
    found = similarity(content_cosines(pooled(1.0, 3)), 0)
    assert found.p_value < 0.001
    assert all(low > 0.2 for low in found.same.low)
    assert all(
        low <= 0 <= high for low, high in zip(found.shuffled.low, found.shuffled.high, strict=True)
    )
    assert set(found.of_clothes) == set(CLOTHES[1:]) and found.n_contents == N_CONTENTS


def test_without_common_content_p_values_are_even() -> None:
    p = [similarity(content_cosines(pooled(0.0, seed)), seed).p_value for seed in range(10)]
    assert sum(each <= 0.25 for each in p) <= 6 and sum(each <= 0.05 for each in p) <= 2
    assert max(p) > 0.5


def test_the_same_seed_gives_the_same_curves() -> None:
    cosines = content_cosines(pooled(0.3, 5))
    assert similarity(cosines, 7) == similarity(cosines, 7)
    assert similarity(cosines, 7).same.low != similarity(cosines, 8).same.low


def test_states_that_are_all_alike_have_no_cosine() -> None:
    states = np.ones((4, len(CLOTHES), 2, 8), dtype=np.float32)
    assert not content_cosines(states).any()
