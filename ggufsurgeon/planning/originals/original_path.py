"""The layer path of a patched file over its original, whatever number of patches made it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.originals.source_pairs import damaged
from ggufsurgeon.planning.rebuilding.ingredients import Ingredients, find_ingredients
from ggufsurgeon.planning.rebuilding.recipes import Patch
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
    """Number of MTP blocks, which are behind the path."""
    kinds: tuple[str, ...]
    """Kinds of its blocks, such as `sliding` and `global`; none where all blocks are alike."""
    models: Mapping[int, str] = field(default_factory=dict)
    """Of a path over several models, the SHA-256 of the header of each, by its number."""
    outside: OutsideBlocks | None = None
    """Of such a path, the models of what is outside the blocks."""
    mtp: str | None = None
    """NO_MTP where the MTP blocks of the original were left out, or the SHA-256 of the header of
    the file that they were taken from; None where they are as in the original."""


def find_original_path(patched: GgufFile) -> OriginalPath:
    """The path from the records of a file. Raises RefusedError when it records no patch."""
    return original_path_of(patched, find_ingredients(patched))


def original_path_of(patched: GgufFile, made_of: Ingredients) -> OriginalPath:
    """The path of a file over what it is made of. Raises RefusedError for a damaged record."""
    found, first = find_blocks(patched), made_of.patches[0]
    path, *more = (_trunk(patch, found.n_mtp) for patch in made_of.patches)
    for layers in more:
        if max(layers.blocks, default=0) >= len(path):
            raise damaged("blocks")
        path = layers.behind(path)
    kinds = tuple(_kinds(patched, found))
    models = {m.number: m.header_sha256 for m in made_of.further if m.number is not None}
    if models:
        models = {0: made_of.source_header_sha256, **models}
    return OriginalPath(path, found.n_mtp, kinds, models, first.outside, first.mtp)


def _trunk(patch: Patch, n_mtp: int) -> LayerPath:
    """The layers of a patch without its MTP blocks, of which every file behind it has as many."""
    steps = patch.layers.steps
    if len(steps) <= n_mtp and not patch.is_trunk:
        raise damaged("blocks")
    return patch.layers if patch.is_trunk else LayerPath(steps[: len(steps) - n_mtp])


def _kinds(patched: GgufFile, blocks: Blocks) -> Iterator[str]:
    labels = ModelRules(patched, blocks).labels()[: blocks.n_trunk]
    kinds = dict.fromkeys(label or "other" for label in labels)
    if len(kinds) > 1:
        yield from kinds
