"""Layer paths over the blocks of a file."""

from __future__ import annotations

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.layer_path.edits import AnyPath, path_over
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.blocks import find_blocks


def resolve_path(file: GgufFile, path: AnyPath) -> LayerPath:
    """The path over the trunk of `file`. Raises UsageError when it does not fit, or is none."""
    return path_over(path, find_blocks(file).n_trunk)
