"""A layer path as it was asked for, before the model's number of blocks is known."""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.notations import (
    DEFAULT_TIMES,
    Window,
    drop_windows,
    parse_layers,
    repeat_windows,
)
from ggufsurgeon.layer_path.path import LayerPath


@dataclass(frozen=True)
class PathRequest:
    """One of: windows to run `times` times in all, windows to drop, or `layers` spelled out."""

    windows: tuple[Window, ...] = ()
    times: int | None = None
    drops: tuple[Window, ...] = ()
    layers: str | None = None

    def resolve(self, n_blocks: int) -> LayerPath:
        """The path over a model of `n_blocks`. Raises UsageError when the request is not one."""
        self._check()
        if self.layers is not None:
            return parse_layers(self.layers)
        if self.drops:
            return drop_windows(n_blocks, self.drops)
        times = DEFAULT_TIMES if self.times is None else self.times
        return repeat_windows(n_blocks, self.windows, times)

    def _check(self) -> None:
        asked = [bool(self.windows), bool(self.drops), self.layers is not None]
        if sum(asked) != 1:
            found = "none is given" if not any(asked) else "they exclude each other"
            raise UsageError(
                f"expected one of --window, --drop and --layers: {found}",
                hint="--window I:J repeats blocks, --drop I:J leaves them out, "
                '--layers "0..6,4..29" spells the path out.',
            )
        if self.times is not None and not self.windows:
            raise UsageError("--times belongs to --window")
