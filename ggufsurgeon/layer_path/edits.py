"""Repeats and drops: layer paths for models whose number of blocks is not known yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.notations import (
    DEFAULT_TIMES,
    Window,
    check_order,
    damp_windows,
    drop_windows,
    parse_window,
    repeat_windows,
)
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.layer_path.strengths import FULL, strength_of


@dataclass(frozen=True)
class Repeat:
    """The path of all blocks with some windows repeated. Made by `repeat`."""

    windows: tuple[Window, ...]
    times: int = DEFAULT_TIMES
    strength: float = FULL
    """Of all passes of a window but the first."""

    def over(self, n_blocks: int) -> LayerPath:
        """The path over a model of `n_blocks`. Raises UsageError for a window outside it."""
        return repeat_windows(n_blocks, self.windows, self.times, strength=self.strength)


@dataclass(frozen=True)
class DampedRepeat:
    """The path of all blocks with some windows repeated, each pass with the strength 1 / `times`.

    Made by `repeat`.
    """

    windows: tuple[Window, ...]
    times: int = DEFAULT_TIMES

    def over(self, n_blocks: int) -> LayerPath:
        """The path over a model of `n_blocks`. Raises UsageError as `damp_windows`."""
        return damp_windows(n_blocks, self.windows, self.times)


@dataclass(frozen=True)
class Drop:
    """The path of all blocks without some windows. Made by `drop`."""

    windows: tuple[Window, ...]

    def over(self, n_blocks: int) -> LayerPath:
        """The path over a model of `n_blocks`. Raises UsageError for a window outside it."""
        return drop_windows(n_blocks, self.windows)


WindowEdit: TypeAlias = Repeat | DampedRepeat | Drop
"""What is done to windows of a model."""

AnyPath: TypeAlias = LayerPath | WindowEdit
"""Whatever has `over(n_blocks)`, which gives a LayerPath."""


def path_over(path: AnyPath, n_blocks: int) -> LayerPath:
    """A path over a model of `n_blocks`. Raises UsageError when it does not fit, or is none."""
    if not callable(getattr(path, "over", None)):
        raise UsageError(
            f"{path!r} is no layer path: expected a LayerPath, or what repeat or drop returns",
            hint='Such as LayerPath("0..6,4..29") or repeat("4:7").',
        )
    return path.over(n_blocks)


def repeat(
    *windows: str | Window,
    times: int = DEFAULT_TIMES,
    strength: float = FULL,
    damped: bool = False,
) -> Repeat | DampedRepeat:
    """The path that runs each window `times` times in all.

    A window is `"10:17"` or `(10, 17)`: blocks 10 to 16, half-open. Several compose in order: each
    is inserted behind the last place where its last block runs so far. All passes but the first
    have the `strength`; with `damped` every pass has the strength 1 / `times`, as in
    "Training-Free Looped Transformers" (arXiv 2605.23872). Raises UsageError for what is no window
    or no strength, and for both of `strength` and `damped`.

    >>> str(repeat("10:17").over(30))
    '0..16,10..29'
    >>> str(repeat("10:17", strength=0.5).over(30))
    '0..16,10..16*0.5,17..29'
    >>> str(repeat("10:17", damped=True).over(30))
    '0..9,10..16*0.5,10..16*0.5,17..29'
    """
    strength = strength_of(strength)
    if not damped:
        return Repeat(_windows(windows), times, strength)
    if strength != FULL:
        raise UsageError("a damped window has the strength 1 / times in every pass, and no other")
    return DampedRepeat(_windows(windows), times)


def drop(*windows: str | Window) -> Drop:
    """The path that leaves out the blocks of each window, `"20:22"` or `(20, 22)`, half-open.

    Raises UsageError for what is no window.

    >>> str(drop("20:22").over(30))
    '0..19,22..29'
    """
    return Drop(_windows(windows))


def _windows(windows: tuple[str | Window, ...]) -> tuple[Window, ...]:
    if not windows:
        raise UsageError('no window is given: expected one such as "10:17"')
    return tuple(
        parse_window(w) if isinstance(w, str) else check_order(w, f"{w[0]}:{w[1]}") for w in windows
    )
