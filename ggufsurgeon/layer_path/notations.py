"""How people write layer paths.

Windows `I:J` and drops are half-open, as in RYS and mergekit; `--layers` ranges `a..b` are
inclusive, as in llm-circuit-finder and exllamav3. All name blocks of the source model.

Several windows compose one after the other, as in dnhkng/RYS (`expand_multi_block_config`):
each window I:J is inserted behind the last place where block J-1 runs so far. `times` runs a
window that many times in all, by inserting it `times - 1` times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import BlockRef, LayerPath

Window: TypeAlias = tuple[int, int]
"""Blocks I to J-1."""

MAX_TIMES = 512
"""More could never load: llama.cpp runs at most 512 blocks."""

DEFAULT_TIMES = 2
MAX_STEPS = 100_000
"""Keeps `0..99999,0..99999` from filling the memory; what loads is far below."""

_WINDOW = re.compile(r"(\d+):(\d+)", re.ASCII)
_RUN = re.compile(r"(?:(\d+):)?(\d+)(?:\.\.(\d+))?", re.ASCII)


def parse_window(text: str) -> Window:
    """`I:J`, half-open. Raises UsageError when it is not, is empty or runs backwards."""
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"window {text!r}: expected I:J, for instance 10:17 for blocks 10 to 16")
    first, end = _number(match[1]), _number(match[2])
    if first >= end:
        found = "is empty" if first == end else "runs backwards"
        raise UsageError(
            f"window {text!r} {found}: I:J holds blocks I to J-1, so I must be below J"
        )
    return first, end


def repeat_windows(
    n_blocks: int, windows: Iterable[Window], times: int = DEFAULT_TIMES
) -> LayerPath:
    """The model with each window run `times` times."""
    if not 1 <= times <= MAX_TIMES:
        raise UsageError(f"--times {times}: expected 1 to {MAX_TIMES}; --drop removes blocks")
    blocks = list(range(n_blocks))
    for first, end in windows:
        _check_window((first, end), n_blocks, "--window")
        behind = len(blocks) - blocks[::-1].index(end - 1)
        blocks[behind:behind] = list(range(first, end)) * (times - 1)
    return LayerPath.of(blocks)


def drop_windows(n_blocks: int, windows: Sequence[Window]) -> LayerPath:
    """The model without these windows."""
    for window in windows:
        _check_window(window, n_blocks, "--drop")
    kept = [n for n in range(n_blocks) if not any(first <= n < end for first, end in windows)]
    if not kept:
        raise UsageError(f"the layer path is empty: all {n_blocks} blocks would be dropped")
    return LayerPath.of(kept)


def parse_layers(text: str) -> LayerPath:
    """Inclusive runs such as `0..6,4..29`; single blocks and `source:run` are allowed."""
    if not text.strip():
        raise UsageError("the layer path is empty: expected runs such as 0..6,4..29")
    steps: list[BlockRef] = []
    for part in text.split(","):
        steps.extend(_parse_run(part.strip(), text))
        if len(steps) > MAX_STEPS:
            raise UsageError(f"layers {text[:40]!r}: no model runs {MAX_STEPS} blocks")
    return LayerPath(tuple(steps))


def _parse_run(part: str, text: str) -> list[BlockRef]:
    match = _RUN.fullmatch(part)
    if match is None:
        raise UsageError(f"layers {text!r}: {part!r} is not a run; expected 4..29 or 7")
    source, first = _number(match[1] or "0"), _number(match[2])
    last = _number(match[3] or match[2])
    if last < first:
        raise UsageError(f"layers {text!r}: {part!r} runs backwards; name the blocks one by one")
    return [BlockRef(source, block) for block in range(first, last + 1)]


def _number(digits: str) -> int:
    if len(digits) > 5:
        raise UsageError(f"no model has a block {digits}")
    return int(digits)


def _check_window(window: Window, n_blocks: int, option: str) -> None:
    first, end = window
    if end > n_blocks:
        raise UsageError(
            f"{option} {first}:{end} reaches beyond the model, whose {n_blocks} blocks are "
            f"0 to {n_blocks - 1}"
        )
