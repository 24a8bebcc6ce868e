"""Which windows of a model can be run twice, and which are nearest to one that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.notations import Window, repeat_windows
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.blocks import Blocks
from ggufsurgeon.planning.following import follow

N_NEAREST = 3


class Judgement(NamedTuple):
    """What the rules say of a window."""

    window: Window
    notes: tuple[str, ...]
    refusal: str | None


def judge_windows(source: GgufFile, blocks: Blocks) -> Iterator[Judgement]:
    """Every window of the trunk, by its first block and then its end."""
    for first in range(blocks.n_trunk):
        for end in range(first + 1, blocks.n_trunk + 1):
            yield _judge(source, blocks, (first, end))


def _judge(source: GgufFile, blocks: Blocks, window: Window) -> Judgement:
    try:
        edits = follow(source, blocks, repeat_windows(blocks.n_trunk, [window]))
    except RefusedError as error:
        return Judgement(window, (), str(error))
    return Judgement(window, tuple(dict.fromkeys(e.note for e in edits if e.note)), None)


def nearest_windows(source: GgufFile, blocks: Blocks, path: LayerPath) -> list[Window]:
    """The windows that can be run twice and are nearest to the one that `path` runs twice.

    None when the path is no such window, or no window works.
    """
    asked = _as_window(path, blocks.n_trunk)
    if asked is None:
        return []
    every = [(i, j) for i in range(blocks.n_trunk) for j in range(i + 1, blocks.n_trunk + 1)]
    every.sort(key=lambda window: (_distance(window, asked), window))
    working = (w for w in every if _judge(source, blocks, w).refusal is None)
    return list(islice(working, N_NEAREST))


def _distance(window: Window, other: Window) -> int:
    return abs(window[0] - other[0]) + abs(window[1] - other[1])


def _as_window(path: LayerPath, n_blocks: int) -> Window | None:
    runs = [(first.block, last.block + 1) for first, last in path.runs()]
    if len(runs) != 2:
        return None
    (start, end), (first, stop) = runs
    return (first, end) if (start, stop) == (0, n_blocks) and first < end else None
