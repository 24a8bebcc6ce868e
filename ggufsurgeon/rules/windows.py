"""Which windows of a model can be run twice, and which are nearest to one that cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, TypeAlias

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.notations import MAX_TIMES, Window, repeat_windows
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.application import check_count, follow
from ggufsurgeon.rules.blocks import Blocks

N_NEAREST = 3
Make: TypeAlias = Callable[[Window], LayerPath]
"""A path of some form with another window."""


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
        check_count(source, len(blocks) + window[1] - window[0])
        edits = follow(source, blocks, repeat_windows(blocks.n_trunk, [window]))
    except RefusedError as error:
        return Judgement(window, (), str(error))
    return Judgement(window, tuple(dict.fromkeys(e.note for e in edits if e.note)), None)


def nearest_windows(source: GgufFile, blocks: Blocks, path: LayerPath) -> list[Window]:
    """The windows nearest to the one that `path` drops, or repeats so many times, that work.

    None when the path is of another form, or no window works.
    """
    form = _form_of(path, blocks.n_trunk)
    if form is None:
        return []
    asked, make = form
    every = [(i, j) for i in range(blocks.n_trunk) for j in range(i + 1, blocks.n_trunk + 1)]
    every.sort(key=lambda window: (_distance(window, asked), window))
    working = (window for window in every if _works(source, blocks, make, window))
    return list(islice(working, N_NEAREST))


def _works(source: GgufFile, blocks: Blocks, make: Make, window: Window) -> bool:
    path = make(window)
    if not path.steps:
        return False
    try:
        follow(source, blocks, path)
    except RefusedError:
        return False
    return True


def _distance(window: Window, other: Window) -> int:
    return abs(window[0] - other[0]) + abs(window[1] - other[1])


def _form_of(path: LayerPath, n_blocks: int) -> tuple[Window, Make] | None:
    """The window that a path repeats or drops, and how to do the same with another."""
    runs = [(first.block, last.block + 1) for first, last in path.runs()]
    first, end = runs[-1][0], runs[0][1]
    repeats, drops = _repeating(n_blocks, len(runs)), _dropping(n_blocks)
    if first < end and 1 < len(runs) <= MAX_TIMES and repeats((first, end)) == path:
        return (first, end), repeats
    kept = set(path.blocks)
    gone = [n for n in range(n_blocks) if n not in kept]
    if gone and drops((gone[0], gone[-1] + 1)) == path:
        return (gone[0], gone[-1] + 1), drops
    return None


def _repeating(n_blocks: int, times: int) -> Make:
    return lambda window: repeat_windows(n_blocks, [window], times)


def _dropping(n_blocks: int) -> Make:
    return lambda window: LayerPath.of([*range(window[0]), *range(window[1], n_blocks)])
