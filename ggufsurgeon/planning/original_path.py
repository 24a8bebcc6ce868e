"""The layer path of a patched file over its original, whatever number of patches made it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.recipes import find_ingredients
from ggufsurgeon.rules.application import ModelRules
from ggufsurgeon.rules.blocks import Blocks, find_blocks


@dataclass(frozen=True)
class OriginalPath:
    """The blocks of the original that run, and what else differs between blocks.

    >>> import tempfile
    >>> import ggufsurgeon as gs
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plan = gs.open("fixtures/stories260K.gguf").plan(gs.repeat("1:3"))
    ...     once = gs.open(plan.write(f"{folder}/once.gguf"))
    ...     twice = gs.open(once.plan(gs.drop("0:1")).write(f"{folder}/twice.gguf"))
    ...     str(twice.original_path().layer_path)
    '1..2,1..4'
    """

    layer_path: LayerPath
    """Without MTP blocks."""
    n_mtp: int
    """Number of MTP blocks, which are behind the path and as in the original."""
    kinds: tuple[str, ...]
    """Kinds of its blocks, such as `sliding` and `global`; none where all blocks are alike."""


def find_original_path(patched: GgufFile) -> OriginalPath:
    """The path from the records of a file. Raises RefusedError when it records no patch."""
    path, *more = (patch.layers for patch in find_ingredients(patched).patches)
    for layers in more:
        path = layers.behind(path)
    found = find_blocks(patched)
    trunk = path.steps[: found.n_trunk]
    return OriginalPath(LayerPath(trunk), found.n_mtp, tuple(_kinds(patched, found)))


def _kinds(patched: GgufFile, blocks: Blocks) -> Iterator[str]:
    labels = ModelRules(patched, blocks).labels()[: blocks.n_trunk]
    kinds = dict.fromkeys(label or "other" for label in labels)
    if len(kinds) > 1:
        yield from kinds
