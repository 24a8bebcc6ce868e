"""The layer path, its notations, and RYS's rule for several windows."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath, drop, repeat
from ggufsurgeon.layer_path.factors import FACTOR_NAMES, factors_of
from ggufsurgeon.layer_path.notations import (
    Window,
    drop_windows,
    parse_window,
    repeat_windows,
)
from ggufsurgeon.layer_path.path import BlockRef, LayerPath

N_BLOCKS = 12
blocks = st.integers(0, N_BLOCKS - 1)
windows = st.tuples(blocks, blocks).map(lambda w: (min(w), max(w) + 1))
strengths = st.just(1.0) | st.just(0.0) | st.floats(1.25e-38, 3e38)
factors = st.dictionaries(st.sampled_from(FACTOR_NAMES), strengths, max_size=3).map(factors_of)
steps = st.builds(BlockRef, st.integers(0, 2), st.integers(0, 40), strengths, st.just(()) | factors)


@given(st.lists(steps, min_size=1).map(lambda found: LayerPath(tuple(found))))
def test_the_compact_form_reads_back(path: LayerPath) -> None:
    assert LayerPath(str(path)) == path


@given(strengths)
@example(1000 + 2**-14)  # of nine digits
def test_a_strength_is_the_nearest_number_of_32_bits(strength: float) -> None:
    step = BlockRef(0, 3, strength)
    assert np.float32(strength) == step.strength
    (read,) = LayerPath(str(LayerPath([step]))).strengths
    assert struct.pack("<f", read) == struct.pack("<f", step.strength)


@pytest.mark.parametrize("strength", [-1.0, -1e-30, float("nan"), float("inf"), 1e39, 1e-40])
def test_what_is_no_strength_is_refused(strength: float) -> None:
    for make in (
        lambda: BlockRef(0, 3, strength),
        lambda: repeat("1:3", strength=strength),
        lambda: LayerPath(f"0..3*{strength}"),
    ):
        with pytest.raises(UsageError, match="strength"):
            make()


def test_strengths_of_a_window() -> None:
    assert str(repeat("1:3", strength=0.5).over(5)) == "0..2,1..2*0.5,3..4"
    assert str(repeat("1:3", times=3, strength=0.5).over(5)) == "0..2,1..2*0.5,1..2*0.5,3..4"
    assert str(repeat("1:3", damped=True).over(5)) == "0,1..2*0.5,1..2*0.5,3..4"
    thirds = repeat("1:2", "3:4", times=3, damped=True).over(5)
    assert str(thirds) == ",".join(["0", *["1*0.33333334"] * 3, "2", *["3*0.33333334"] * 3, "4"])
    assert repeat("1:3", strength=1).over(5) == repeat("1:3").over(5)
    assert repeat("1:3", times=1, damped=True).over(5) == LayerPath.identity(5)
    with pytest.raises(UsageError, match="0:2 and 1:3 overlap"):
        repeat("1:3", "0:2", damped=True).over(5)
    with pytest.raises(UsageError, match="in every pass, and no other"):
        repeat("1:3", strength=0.5, damped=True)


@given(windows, st.integers(1, 5))
def test_damped_passes_of_a_block_make_one_together(window: Window, times: int) -> None:
    path = repeat(window, times=times, damped=True).over(N_BLOCKS)
    for block in range(N_BLOCKS):
        total = sum(step.strength for step in path.steps if step.block == block)
        assert total == pytest.approx(1, rel=1e-6)


def test_a_path_behind_another_multiplies_strengths() -> None:
    once = LayerPath("0..2,1..2*0.5,3")
    assert str(LayerPath("0..2,4*0.5,5").behind(once)) == "0..2,2*0.25,3"
    assert LayerPath.identity(6).behind(once) == once
    weights = LayerPath("0*attn_q=0.5,1*0.5*ffn_down=0.5")
    assert str(LayerPath("0*attn_q=2,1*ffn_down=0.5*attn_k=3").behind(weights)) == (
        "0,1*0.5*attn_k=3*ffn_down=0.25"
    )


def test_a_path_of_which_nothing_would_run_is_refused() -> None:
    assert LayerPath("0*0,1").over(2).strengths == (0.0, 1.0)
    with pytest.raises(UsageError, match="nothing would run"):
        LayerPath("0..1*0").over(2)


@pytest.mark.parametrize("text", ["0*", "0*x", "0*0.5*0.5", "0..1*.", "0*1e", "0*0x1", "*0.5"])
def test_what_is_no_strength_in_a_path_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no strength|is not a range|is not a factor"):
        LayerPath(text)


def test_factors_stand_behind_the_strength_in_one_order() -> None:
    for text, printed in (
        ("8..15*attn_q=0.84*attn_k=.84", "8..15*attn_q=0.84*attn_k=0.84"),
        ("4*ffn_down=0.25*attn_output=0.5", "4*attn_output=0.5*ffn_down=0.25"),
        ("1:4 * 0.5 * attn_k=2", "1:4*0.5*attn_k=2"),
        ("4*1*attn_q=1", "4"),
        ("4*0.5*attn_output=0.5", "4*0.5*attn_output=0.5"),
    ):
        assert str(LayerPath(text)) == printed
    assert str(LayerPath("4*attn_q=2,5*attn_q=2,6*attn_q=3,7")) == "4..5*attn_q=2,6*attn_q=3,7"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0*attn_v=2", "'attn_v' cannot have a factor: only attn_q, attn_k, attn_output, ffn_down"),
        ("0*=2", "'' cannot have a factor"),
        ("0*attn_q=", "'' is no factor"),
        ("0*attn_q=-1", "'-1' is no factor"),
        ("0*attn_q=x", "'x' is no factor"),
        ("0*attn_q=1e-40", "a factor of 1e-40: 32-bit"),
        ("0*attn_q=2*attn_q=2", "'attn_q' has two factors"),
        ("0*attn_q=2*0.5", "'0.5' is not a factor of a weight"),
        ("0*attn_q=2*", "'' is not a factor of a weight"),
    ],
)
def test_what_is_no_factor_is_told(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        LayerPath(text)
    with pytest.raises(UsageError, match="a factor of -1"):
        BlockRef(0, 0, factors=(("attn_q", -1.0),))


def test_the_compact_form_is_compact() -> None:
    assert str(repeat_windows(30, [(4, 7)])) == "0..6,4..29"
    assert str(LayerPath.of([5, 5, 6, 8])) == "5,5..6,8"
    assert str(LayerPath((BlockRef(0, 0), BlockRef(1, 1), BlockRef(1, 2)))) == "0,1:1..2"


@given(windows)
def test_one_window_is_rys(window: Window) -> None:
    first, end = window
    expected = [*range(end), *range(first, N_BLOCKS)]
    assert repeat_windows(N_BLOCKS, [window]).blocks == tuple(expected)


def sequential_rule(n_blocks: int, found: list[Window]) -> list[int]:
    """As dnhkng/RYS documents it: scan from the end for block j-1, insert the window behind it."""
    path = list(range(n_blocks))
    for first, end in found:
        place = max(n for n, block in enumerate(path) if block == end - 1) + 1
        path = path[:place] + list(range(first, end)) + path[place:]
    return path


@given(st.lists(windows, min_size=1, max_size=4))
def test_several_windows_compose_sequentially(found: list[Window]) -> None:
    assert repeat_windows(N_BLOCKS, found).blocks == tuple(sequential_rule(N_BLOCKS, found))


def test_several_windows_as_rys_prints_them() -> None:
    # dnhkng/RYS, expand_multi_block_config(7, ((3, 6), (4, 6)))
    assert repeat_windows(7, [(3, 6), (4, 6)]).blocks == (0, 1, 2, 3, 4, 5, 3, 4, 5, 4, 5, 6)


@given(windows, st.integers(1, 5))
def test_times_is_the_window_over_and_over(window: Window, times: int) -> None:
    again = repeat_windows(N_BLOCKS, [window] * (times - 1))
    assert repeat_windows(N_BLOCKS, [window], times) == again
    first, end = window
    assert len(again) == N_BLOCKS + (times - 1) * (end - first)


@given(st.lists(windows, min_size=1, max_size=3))
def test_dropped_blocks_are_gone_and_the_rest_is_in_order(found: list[Window]) -> None:
    gone = {block for first, end in found for block in range(first, end)}
    if len(gone) == N_BLOCKS:
        with pytest.raises(UsageError, match="empty"):
            drop_windows(N_BLOCKS, found)
    else:
        kept = drop_windows(N_BLOCKS, found).blocks
        assert kept == tuple(sorted(set(range(N_BLOCKS)) - gone))


@pytest.mark.parametrize(
    "text", ["", "3", "3:", ":3", "3:3", "5:3", "a:b", "-1:3", "3:5:7", "\u0663:\u0665"]
)
def test_bad_windows(text: str) -> None:
    with pytest.raises(UsageError, match="window"):
        parse_window(text)


@pytest.mark.parametrize(
    "text", ["", " ", ",", "0..", "..3", "3..1", "0..3,,5", "a", "0...3", "0..99999999999", "-1"]
)
def test_bad_layers(text: str) -> None:
    with pytest.raises(UsageError):
        LayerPath(text)


@pytest.mark.parametrize("text", ["0..99999", "0..9998,0,1", "0," * 10_000 + "0"])
def test_no_text_makes_a_path_that_fills_memory(text: str) -> None:
    with pytest.raises(UsageError, match="more than 10000 blocks"):
        LayerPath(text)


@pytest.mark.parametrize("text", ["x" * 9999, f"{'1' * 9999}:2", f"0..{'1' * 9999}", "3..1," * 999])
def test_messages_are_short(text: str) -> None:
    for parse in (LayerPath, parse_window):
        with pytest.raises(UsageError) as caught:
            parse(text)
        assert len(str(caught.value)) < 250
    with pytest.raises(UsageError) as caught:
        LayerPath("9,7," * 1000 + "9").check_within(9)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("times", [0, -1, 513, 10**9])
def test_bad_times(times: int) -> None:
    with pytest.raises(UsageError, match="times"):
        repeat_windows(N_BLOCKS, [(0, 1)], times)


@pytest.mark.parametrize("edit", [repeat, drop])
def test_bad_edits(edit: Callable[..., AnyPath]) -> None:
    for windows in ((), ("3",), ((2, 2),), ((-1, 2),), ((3, 1),)):
        with pytest.raises(UsageError, match="window"):
            edit(*windows)
    with pytest.raises(UsageError, match="reaches past"):
        edit((0, N_BLOCKS + 1)).over(N_BLOCKS)


def test_windows_are_texts_or_pairs() -> None:
    assert repeat("1:3", "0:2", times=3) == repeat((1, 3), (0, 2), times=3)
    assert repeat((1, 3)).over(N_BLOCKS) == repeat_windows(N_BLOCKS, [(1, 3)])
    assert drop("1:3").over(N_BLOCKS) == drop_windows(N_BLOCKS, [(1, 3)])
    assert LayerPath("0..3").over(N_BLOCKS) == LayerPath.of(range(4))
    with pytest.raises(UsageError, match="no block"):
        LayerPath(f"0..{N_BLOCKS}").over(N_BLOCKS)


def test_a_path_knows_its_models() -> None:
    LayerPath((BlockRef(0, 3), BlockRef(1, 5))).check_within(4, 6)
    for models in ((4,), (4, 5), (3, 6)):
        with pytest.raises(UsageError, match="there is no"):
            LayerPath((BlockRef(0, 3), BlockRef(1, 5))).check_within(*models)
    with pytest.raises(UsageError, match="empty"):
        LayerPath(()).check_within(4)
