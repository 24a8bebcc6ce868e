"""Windows `I:J`, and the layer paths that repeat or drop them.

Windows are half-open, as in RYS and mergekit, and name blocks of the source model. Several
windows compose one after the other, as in dnhkng/RYS (`expand_multi_block_config`): each window
I:J is inserted behind the last place where block J-1 runs so far. `times` runs a window that many
times in all, by inserting it `times - 1` times. The inserted blocks may have a strength of their
own; damped windows have 1 / `times` in every pass, the first among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import BlockRef, LayerPath, block_number
from ggufsurgeon.layer_path.strengths import FULL

Window: TypeAlias = tuple[int, int]
"""Blocks I to J-1, as the pair (I, J)."""

MAX_TIMES = 512
"""Largest number of times: llama.cpp runs at most 512 blocks."""

DEFAULT_TIMES = 2

_WINDOW = re.compile(r"(\d+):(\d+)", re.ASCII)


def parse_window(text: str) -> Window:
    """Parse `I:J`, half-open. Raises UsageError for another text, and for no block between."""
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"window {quoted(text)}: expected I:J, for instance 10:17 for blocks 10 to 16"
        )
    return check_order((block_number(match[1]), block_number(match[2])), text)


def check_order(window: Window, text: str) -> Window:
    """The window itself. Raises UsageError, which shows `text`, unless it holds a block."""
    first, end = window
    if not 0 <= first < end:
        found = "is empty" if first == end else "runs backwards"
        raise UsageError(
            f"window {quoted(text)} {found}: I:J holds blocks I to J-1, so I must be below J"
        )
    return window


def repeat_windows(
    n_blocks: int,
    windows: Iterable[Window],
    times: int = DEFAULT_TIMES,
    *,
    strength: float = FULL,
) -> LayerPath:
    """The path of a model of `n_blocks` with each window run `times` times in all.

    All passes but the first have the strength. Raises UsageError for a window outside the model,
    `times` outside 1 to `MAX_TIMES`, and as `strength_of`.
    """
    return LayerPath(
        BlockRef(0, block, strength if is_repeat else FULL)
        for block, is_repeat in _repeated(n_blocks, windows, times)
    )


def repeated_blocks(
    n_blocks: int, windows: Iterable[Window], times: int = DEFAULT_TIMES
) -> list[int]:
    """The block indices of `repeat_windows`, in order. Raises as that."""
    return [block for block, _ in _repeated(n_blocks, windows, times)]


def _repeated(n_blocks: int, windows: Iterable[Window], times: int) -> list[tuple[int, bool]]:
    """The blocks in order, each with whether it was inserted."""
    if not 1 <= times <= MAX_TIMES:
        raise UsageError(f"a window cannot run {times} times: expected 1 to {MAX_TIMES}")
    found = [(block, False) for block in range(n_blocks)]
    for first, end in windows:
        _check_window((first, end), n_blocks)
        behind = max(n for n, (block, _) in enumerate(found) if block == end - 1) + 1
        found[behind:behind] = [(block, True) for block in range(first, end)] * (times - 1)
    return found


def damp_windows(n_blocks: int, windows: Sequence[Window], times: int) -> LayerPath:
    """The path of `repeat_windows` on which every pass of a window has the strength 1 / `times`.

    Raises UsageError as that, and for windows that overlap.
    """
    for (first, end), (other, other_end) in pairwise(sorted(windows)):
        if other < end:
            raise UsageError(
                f"windows {first}:{end} and {other}:{other_end} overlap, so that it is unclear by "
                "how much the blocks of both are damped"
            )
    path = repeat_windows(n_blocks, windows, times)
    damped = {block for first, end in windows for block in range(first, end)}
    return LayerPath(
        BlockRef(0, block, 1 / times if block in damped else FULL) for block in path.blocks
    )


def drop_windows(n_blocks: int, windows: Sequence[Window]) -> LayerPath:
    """The path of a model of `n_blocks` without the blocks of some windows.

    Raises UsageError for a window outside the model, or when no block is left.
    """
    for window in windows:
        _check_window(window, n_blocks)
    kept = [n for n in range(n_blocks) if not any(first <= n < end for first, end in windows)]
    if not kept:
        raise UsageError(f"the layer path is empty: all {n_blocks} blocks would be dropped")
    return LayerPath.of(kept)


def _check_window(window: Window, n_blocks: int) -> None:
    first, end = window
    if end > n_blocks:
        raise UsageError(
            f"window {first}:{end} reaches past the end of the model, whose {n_blocks} blocks are "
            f"0 to {n_blocks - 1}"
        )
