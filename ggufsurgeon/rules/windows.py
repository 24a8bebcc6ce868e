"""Windows of a model that can be repeated, and those nearest to one that cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.notations import MAX_TIMES, Window, repeated_blocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.application import ModelRules
from ggufsurgeon.rules.blocks import Blocks

N_NEAREST = 3
Make: TypeAlias = Callable[[Window], list[int]]
"""A function from a window to the blocks of a path that repeats or drops it."""


class Judgement(NamedTuple):
    """The outcome of the rules for a window that runs twice: notes, or the reason of a refusal."""

    window: Window
    notes: tuple[str, ...]
    refusal: str | None


def judge_windows(source: GgufFile, blocks: Blocks) -> Iterator[Judgement]:
    """Judge every window of the trunk, in the order of its first block and then of its end."""
    rules = ModelRules(source, blocks)
    for window in _windows(blocks.n_trunk):
        yield _judge(rules, blocks.n_trunk, window)


def _windows(n_blocks: int) -> Iterator[Window]:
    for first in range(n_blocks):
        for end in range(first + 1, n_blocks + 1):
            yield first, end


def _judge(rules: ModelRules, n_trunk: int, window: Window) -> Judgement:
    try:
        notes = rules.judge(repeated_blocks(n_trunk, [window]))
    except RefusedError as error:
        return Judgement(window, (), str(error))
    return Judgement(window, notes, None)


def nearest_windows(
    source: GgufFile, blocks: Blocks, path: LayerPath
) -> list[tuple[Window, LayerPath]]:
    """The nearest windows that can be repeated, or dropped, as `path` does with another.

    Each has the path that does so. At most `N_NEAREST`; none when the path is of another form, or
    no window works.
    """
    form = _form_of(path, blocks.n_trunk)
    if form is None:
        return []
    asked, make = form
    rules = ModelRules(source, blocks)
    every = sorted(_windows(blocks.n_trunk), key=lambda window: (_distance(window, asked), window))
    working = (window for window in every if _works(rules, make(window)))
    return [(window, LayerPath.of(make(window))) for window in islice(working, N_NEAREST)]


def _works(rules: ModelRules, path: Sequence[int]) -> bool:
    if not path:
        return False
    try:
        rules.judge(path)
    except RefusedError:
        return False
    return True


def _distance(window: Window, other: Window) -> int:
    return abs(window[0] - other[0]) + abs(window[1] - other[1])


def _form_of(path: LayerPath, n_blocks: int) -> tuple[Window, Make] | None:
    """The window that a path repeats or drops, and a function that does it with another."""
    blocks = list(path.blocks)
    runs = [(first.block, last.block + 1) for first, last in path.runs()]
    first, end = runs[-1][0], runs[0][1]
    repeats, drops = _repeating(n_blocks, len(runs)), _dropping(n_blocks)
    if first < end and 1 < len(runs) <= MAX_TIMES and repeats((first, end)) == blocks:
        return (first, end), repeats
    gone = sorted(set(range(n_blocks)) - set(blocks))
    if gone and drops((gone[0], gone[-1] + 1)) == blocks:
        return (gone[0], gone[-1] + 1), drops
    return None


def _repeating(n_blocks: int, times: int) -> Make:
    return lambda window: repeated_blocks(n_blocks, [window], times)


def _dropping(n_blocks: int) -> Make:
    return lambda window: [*range(window[0]), *range(window[1], n_blocks)]
