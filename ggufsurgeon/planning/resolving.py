"""Layer paths over the blocks of a file."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath, path_over
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.mtp_blocks import mtp_in_path


def resolve_path(file: GgufFile, path: AnyPath, others: Sequence[GgufFile] = ()) -> LayerPath:
    """The path over the trunk of `file`, and of others that it names blocks of.

    Raises UsageError when it does not fit, or is none.
    """
    return over_trunks(path, [find_blocks(each) for each in (file, *others)])


def over_trunk(path: AnyPath, blocks: Blocks) -> LayerPath:
    """The path over the trunk. Raises UsageError when it does not fit, or is none."""
    try:
        return path_over(path, blocks.n_trunk)
    except UsageError:
        if not _fits(path, len(blocks)):
            raise
    raise mtp_in_path(blocks.n_trunk, len(blocks))


def over_trunks(path: AnyPath, blocks: Sequence[Blocks]) -> LayerPath:
    """The path over the trunks of several models. Raises UsageError when it does not fit.

    What is no LayerPath is one over model 0 alone.
    """
    if not isinstance(path, LayerPath):
        return over_trunk(path, blocks[0])
    try:
        path.check_within(*(each.n_trunk for each in blocks))
    except UsageError:
        for n, each in enumerate(blocks):
            if any(s.source == n and each.n_trunk <= s.block < len(each) for s in path.steps):
                raise mtp_in_path(each.n_trunk, len(each)) from None
        raise
    return path


def _fits(path: AnyPath, n_blocks: int) -> bool:
    try:
        path_over(path, n_blocks)
    except UsageError:
        return False
    return True
