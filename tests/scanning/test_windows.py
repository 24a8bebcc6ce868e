"""Which layer paths a scan has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.windows import (
    DROP,
    PATH,
    WINDOW,
    WindowRange,
    drops,
    parse_window_range,
    repeats,
    scan_path,
)


@given(st.integers(1, 40))
def test_all_windows_are_a_triangle(n_blocks: int) -> None:
    paths = repeats(n_blocks, WindowRange())
    assert len({str(one.path) for one in paths}) == n_blocks * (n_blocks + 1) // 2
    assert len(drops(n_blocks, WindowRange())) == len(paths) - 1
    for one in paths:
        assert one.window is not None
        first, end = one.window
        assert list(one.path.blocks) == [*range(end), *range(first, n_blocks)]


@given(st.integers(1, 20), st.sampled_from([WINDOW, DROP]), st.integers(2, 4))
def test_a_window_is_recognised_by_its_blocks(n_blocks: int, kind: str, times: int) -> None:
    """As the only one there is: of more than two passes, and of drops, none has another form."""
    made = (
        repeats(n_blocks, WindowRange(), times)
        if kind == WINDOW
        else drops(n_blocks, WindowRange())
    )
    for one in made:
        assert scan_path(one.path, n_blocks) == one


@given(st.integers(1, 20), st.integers(2, 4), st.sampled_from([0.0, 0.5, 2.0, "damped"]))
def test_a_window_with_strengths_is_recognised(
    n_blocks: int, times: int, strength: float | str
) -> None:
    damped = strength == "damped"
    value = 1.0 if isinstance(strength, str) else strength
    for one in repeats(n_blocks, WindowRange(), times, value, damped=damped):
        found = scan_path(one.path, n_blocks)
        assert (found.kind, found.window, found.path) == (WINDOW, one.window, one.path)
        assert found.edit == one.edit


@pytest.mark.parametrize(
    "text", ["0..2,1..2*0.5,1..2*0.25,3..5", "0..2*0.5,3..5", "0..1,2*0.5,2..5"]
)
def test_other_strengths_are_no_window(text: str) -> None:
    assert scan_path(LayerPath(text), 6).kind == PATH


@pytest.mark.parametrize("text", ["0..5", "0..2,1..2,0..5", "5,4,3,2,1,0", "0..2,4..5,4..5"])
def test_other_paths_are_paths(text: str) -> None:
    assert scan_path(LayerPath(text), 6).kind == PATH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2..4", [(2, 3), (2, 4), (2, 5), (3, 4), (3, 5), (4, 5)]),
        ("2..4:1", [(2, 3), (3, 4), (4, 5)]),
        ("2..5:2..3", [(2, 4), (2, 5), (3, 5), (3, 6), (4, 6)]),
        ("0..7:4/2", [(0, 4), (2, 6), (4, 8)]),
        (" 0..7:8 ", [(0, 8)]),
        ("0..7:8..99", [(0, 8)]),
    ],
)
def test_a_range_of_windows(text: str, expected: list[tuple[int, int]]) -> None:
    assert list(parse_window_range(text).windows(8)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "3", "3..", "4..2", "0..8", "0..3:0", "0..3:5", "0..3:3..2", "0..3/0", "a..b"),
        *("0..3:1:2", "-1..3", "0..99999999999999999999", "0..3:1..2/"),
    ],
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(UsageError):
        list(parse_window_range(text).windows(8))
