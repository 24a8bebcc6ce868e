"""The layer paths of a scan: windows that are repeated or dropped, and paths that are named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import DampedRepeat, Drop, Repeat, WindowEdit, repeat
from ggufsurgeon.layer_path.notations import DEFAULT_TIMES, MAX_TIMES, Window
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.layer_path.strengths import FULL

WINDOW, DROP, PATH = "window", "drop", "path"
"""The kinds of paths."""
_SPECIFICATION = re.compile(r"(\d+)\.\.(\d+)(?::(\d+)(?:\.\.(\d+))?)?(?:/(\d+))?", re.ASCII)


@dataclass(frozen=True)
class ScanPath:
    """A layer path of a scan."""

    path: LayerPath
    kind: str
    """`window` for a window that is repeated, `drop` for one that is left out, else `path`."""
    window: Window | None = None
    """Its first block and the block behind its last; None for a path that is no window."""
    edit: WindowEdit | None = None
    """What is done to the window; None for a path that is no window."""


@dataclass(frozen=True)
class WindowRange:
    """Which windows of a model are scanned: all of them unless told otherwise."""

    first: int = 0
    """The lowest block of a window."""
    last: int | None = None
    """The highest block of a window; None for the last of the model."""
    smallest: int = 1
    largest: int | None = None
    """Numbers of blocks in a window; None for as many as there are."""
    stride: int = 1
    """Blocks from the beginning of a window to that of the next."""

    def windows(self, n_blocks: int) -> Iterator[Window]:
        """The windows of a model of `n_blocks`, by first block, then by end.

        Raises UsageError for a range outside the model, or that has no window.
        """
        last = n_blocks - 1 if self.last is None else self.last
        if last >= n_blocks:
            raise UsageError(f"windows to block {last}: the model has blocks 0 to {n_blocks - 1}")
        if self.first > last:
            raise UsageError(f"windows from block {self.first} to {last}: the range runs backwards")
        largest = last + 1 if self.largest is None else self.largest
        if self.first + self.smallest > last + 1 or self.smallest > largest:
            raise UsageError(f"there is no window of this size in blocks {self.first} to {last}")
        for first in range(self.first, last + 1, self.stride):
            for size in range(self.smallest, min(largest, last + 1 - first) + 1):
                yield first, first + size


def parse_window_range(text: str) -> WindowRange:
    """The range that a text such as `10..25:4..8/2` names.

    Windows within blocks 10 to 25, of 4 to 8 blocks, beginning at every second block. Sizes and
    stride may be left out, and a single size may be given. Raises UsageError for another form.
    """
    found = _SPECIFICATION.fullmatch(text.strip())
    if found is None or any(len(digits or "") > 9 for digits in found.groups()):
        raise UsageError(
            f"windows {text!r}: expected FIRST..LAST, with :SIZE or :SMALLEST..LARGEST and /STRIDE "
            "behind it where they are wanted, such as 10..25:4..8"
        )
    first, last, smallest, largest, stride = (None if d is None else int(d) for d in found.groups())
    if smallest == 0 or stride == 0:
        raise UsageError(f"windows {text!r}: sizes and strides are at least 1")
    size = 1 if smallest is None else smallest
    most = size if largest is None and smallest is not None else largest
    return WindowRange(first or 0, last, size, most, stride or 1)


def repeats(
    n_blocks: int,
    within: WindowRange,
    times: int = DEFAULT_TIMES,
    strength: float = FULL,
    *,
    damped: bool = False,
) -> list[ScanPath]:
    """The paths that run each window `times` times in all.

    All passes but the first have the strength; with `damped` every pass has 1 / `times`. Raises as
    `WindowRange.windows` and `repeat`.
    """
    edits = (
        repeat(window, times=times, strength=strength, damped=damped)
        for window in within.windows(n_blocks)
    )
    return [_of_edit(edit, WINDOW, n_blocks) for edit in edits]


def drops(n_blocks: int, within: WindowRange) -> list[ScanPath]:
    """The paths without each window: blocks one by one, and windows, but never the whole model.

    Raises as `WindowRange.windows`.
    """
    return [
        _of_edit(Drop((window,)), DROP, n_blocks)
        for window in within.windows(n_blocks)
        if window != (0, n_blocks)
    ]


def _of_edit(edit: WindowEdit, kind: str, n_blocks: int) -> ScanPath:
    return ScanPath(edit.over(n_blocks), kind, edit.windows[0], edit)


def scan_path(path: LayerPath, n_blocks: int) -> ScanPath:
    """A path with its kind, as it is recognised by its blocks and their strengths."""
    for edit, kind in _possible_edits(path, n_blocks):
        if edit.over(n_blocks) == path:
            return ScanPath(path, kind, edit.windows[0], edit)
    return ScanPath(path, PATH)


def _possible_edits(path: LayerPath, n_blocks: int) -> Iterator[tuple[WindowEdit, str]]:
    """What a path may be, if it is one window that is repeated or dropped."""
    runs = [(first.block, last.block + 1) for first, last in LayerPath.of(path.blocks).runs()]
    if 1 < len(runs) <= MAX_TIMES and runs[-1][0] < runs[0][1] <= n_blocks:
        window, times = (runs[-1][0], runs[0][1]), len(runs)
        strength_behind = path.strengths[min(window[1], len(path) - 1)]
        yield Repeat((window,), times, strength_behind), WINDOW
        yield DampedRepeat((window,), times), WINDOW
    gone = sorted(set(range(n_blocks)) - set(path.blocks))
    if gone and len(gone) < n_blocks:
        yield Drop(((gone[0], gone[-1] + 1),)), DROP
