"""Repeats and drops together: one path for each set of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.composition import can_compose, compose, in_order
from ggufsurgeon.layer_path.edits import DampedRepeat, Drop, Repeat, WindowEdit, repeat
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.search.candidates import n_added

N_BLOCKS = 12


@st.composite
def edits(draw: st.DrawFn) -> WindowEdit:
    first = draw(st.integers(0, N_BLOCKS - 1))
    window = first, draw(st.integers(first + 1, min(N_BLOCKS, first + 3)))
    times = draw(st.integers(2, 4))
    kind = draw(st.sampled_from(["repeat", "damped", "drop"]))
    if kind == "drop":
        return Drop((window,))
    if kind == "damped":
        return DampedRepeat((window,), times)
    return Repeat((window,), times, draw(st.sampled_from([1.0, 0.5, 0.25])))


@given(edits())
def test_one_edit_is_itself(edit: WindowEdit) -> None:
    assert compose(N_BLOCKS, [edit]) == edit.over(N_BLOCKS)


@given(st.lists(edits(), min_size=1, max_size=4, unique_by=lambda edit: edit.windows), st.randoms())
def test_the_order_does_not_matter(several: list[WindowEdit], order: random.Random) -> None:
    if not can_compose(several):
        with pytest.raises(UsageError, match="overlap"):
            compose(N_BLOCKS, several)
        return
    if sum(end - i for one in several if isinstance(one, Drop) for i, end in one.windows) == 12:
        return  # nothing would be left
    path = compose(N_BLOCKS, several)
    assert len(path) - N_BLOCKS == n_added(in_order(several))
    shuffled = order.sample(several, len(several))
    assert compose(N_BLOCKS, shuffled) == path


@given(st.lists(edits(), min_size=1, max_size=3, unique_by=lambda edit: edit.windows))
def test_repeats_compose_as_windows_do(several: list[WindowEdit]) -> None:
    """As `--window` given several times, in the order of the windows."""
    plain = [Repeat(edit.windows, 3) for edit in in_order(several)]
    together = repeat(*(edit.windows[0] for edit in plain), times=3)
    assert compose(N_BLOCKS, plain) == together.over(N_BLOCKS)


def test_an_example() -> None:
    found = compose(8, [Repeat(((5, 7),), 2, 0.5), Drop(((1, 2),)), DampedRepeat(((3, 4),), 2)])
    assert found == LayerPath("0,2,3*0.5,3*0.5,4..6,5..6*0.5,7")


def test_what_does_not_compose() -> None:
    with pytest.raises(UsageError, match="overlap"):
        compose(8, [Repeat(((2, 5),)), Drop(((4, 6),))])
    with pytest.raises(UsageError, match="all 4 blocks would be dropped"):
        compose(4, [Drop(((0, 2),)), Drop(((2, 4),))])
    with pytest.raises(UsageError, match="reaches past the end"):
        compose(4, [Drop(((0, 2),)), Repeat(((3, 5),))])
