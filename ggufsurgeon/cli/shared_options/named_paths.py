"""The option `--model NAME=LAYERS` of `serve` and `leaderboard`."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath


def add_named_paths(paths: dict[str, AnyPath | None], texts: Sequence[str]) -> None:
    """Add the layer paths that these texts name. Raises UsageError for a name that is there."""
    for text in texts:
        name, equals, layers = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--model {text}: expected NAME=LAYERS, such as rys=0..16,10..29")
        if name in paths:
            raise UsageError(f"--model {text}: the name {name} is given twice")
        paths[name] = LayerPath(layers)
