"""Windows `I:J`, and the layer paths that repeat or drop them.

Windows are half-open, as in RYS and mergekit, and name blocks of the source model. Several
windows compose one after the other, as in dnhkng/RYS (`expand_multi_block_config`): each window
I:J is inserted behind the last place where block J-1 runs so far. `times` runs a window that many
times in all, by inserting it `times - 1` times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath, block_number

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
    n_blocks: int, windows: Iterable[Window], times: int = DEFAULT_TIMES
) -> LayerPath:
    """The path of a model of `n_blocks` with each window run `times` times in all."""
    return LayerPath.of(repeated_blocks(n_blocks, windows, times))


def repeated_blocks(
    n_blocks: int, windows: Iterable[Window], times: int = DEFAULT_TIMES
) -> list[int]:
    """The block indices of `repeat_windows`, in order.

    Raises UsageError for a window outside the model, or `times` outside 1 to `MAX_TIMES`.
    """
    if not 1 <= times <= MAX_TIMES:
        raise UsageError(f"a window cannot run {times} times: expected 1 to {MAX_TIMES}")
    blocks = list(range(n_blocks))
    for first, end in windows:
        _check_window((first, end), n_blocks)
        behind = len(blocks) - blocks[::-1].index(end - 1)
        blocks[behind:behind] = list(range(first, end)) * (times - 1)
    return blocks


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
