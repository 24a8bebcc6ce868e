"""What was asked for, as a layer path over the blocks of a file."""

from __future__ import annotations

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.layer_path.request import PathRequest
from ggufsurgeon.rules.blocks import find_blocks


def resolve_path(file: GgufFile, path: LayerPath | PathRequest) -> LayerPath:
    """The path over the trunk of `file`. Raises UsageError when it is none."""
    n_trunk = find_blocks(file).n_trunk
    path = path if isinstance(path, LayerPath) else path.resolve(n_trunk)
    path.check_within(n_trunk)
    return path
