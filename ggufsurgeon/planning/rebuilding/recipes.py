"""Recipes: what rebuilds a patched file, to the byte, from its original."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.container.shards import SPLIT_KEYS
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mtp_change.planning import plan_mtp_change
from ggufsurgeon.planning.new_tensors.span_ranges import file_of_plan
from ggufsurgeon.planning.originals.source_shards import SourceShards, shards_of, shards_of_plans
from ggufsurgeon.planning.planner import Origin, PatchPlan, plan_patch
from ggufsurgeon.planning.sharding import in_shards_of
from ggufsurgeon.planning.two_patches import two_as_one
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.write_plan import WritePlan

MERGED = (
    "This file was merged by llama-gguf-split, which leaves keys in it: use the shards that it "
    "merged."
)
TOOL = re.compile(r"ggufsurgeon [0-9A-Za-z][0-9A-Za-z.+]{0,30}")


@dataclass(frozen=True)
class Patch:
    """One patch: the blocks in order, with MTP blocks behind them, and the program that did it."""

    layers: LayerPath
    tool: str
    """Such as `ggufsurgeon 1.0.0`. The file records it, so its bytes depend on it."""
    scales_weights: bool = False
    name: str | None = None
    """The name that was given to the model; None for one that follows from the source's."""
    n_tensors: tuple[int, ...] = ()
    """The number of tensors of each shard that it wrote; empty for a single file."""
    outside: OutsideBlocks | None = None
    """On a path over several models, the models of all else; None for one model."""
    mtp: str | None = None
    """Where MTP blocks were changed besides: NO_MTP, or the SHA-256 of the header of the file that
    they were taken from."""
    is_trunk: bool = False
    """Whether MTP blocks are left out in the layers."""


@dataclass(frozen=True)
class ShardIdentity:
    """What identifies a shard."""

    n_bytes: int
    sha256: str | None
    """None where it is not known."""


@dataclass(frozen=True)
class FileIdentity:
    """What identifies a file.

    For a model in shards, size and header are those of the joined shards.
    """

    n_bytes: int
    header_sha256: str
    sha256: str | None
    """The SHA-256 of the whole file; None if unknown, and for shards."""
    shards: tuple[ShardIdentity, ...] = ()
    """In order; none for a single file."""


@dataclass(frozen=True)
class FurtherModel:
    """A model that a recipe needs besides the source, as far as the patched file records it."""

    name: str
    """Stands for its file."""
    number: int | None
    """In the layer path; None for the file that MTP blocks are taken from."""
    header_sha256: str
    n_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Recipe:
    """An original, the patches in the order in which they are done, and the result.

    The first patch may be over several models, of which the original is model 0, or also change the
    MTP blocks; all others are over one model.

    >>> import tempfile
    >>> import ggufsurgeon as gs
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plan = gs.open("fixtures/stories260K.gguf").plan(gs.repeat("1:3"))
    ...     recipe = gs.open(plan.write(f"{folder}/patched.gguf")).recipe()
    >>> str(recipe.patches[0].layers), recipe.source.n_bytes
    ('0..2,1..4', 1185376)
    """

    patches: tuple[Patch, ...]
    source: FileIdentity
    result: FileIdentity
    further: tuple[FurtherModel, ...] = ()
    source_name: str = "model-0"
    """Stands for the file of the original where there are further models."""


def is_plan_of(plan: WritePlan, header_sha256: str, n_bytes: int) -> bool:
    """Whether a plan is that of a file with this header and size."""
    found = hashlib.sha256(plan.header).hexdigest()
    return (found, plan.n_bytes) == (header_sha256, n_bytes)


def plan_recipe(source: GgufFile, recipe: Recipe, further: Sequence[GgufFile] = ()) -> PatchPlan:
    """Plan the file of a recipe. The data of `source` is not looked at, nothing is written.

    `further` are the files of the recipe's further models, in their order. Raises RefusedError when
    the size or the header of one of the files differs from that in the recipe, or when this
    version would write another file. A recipe for a single file also accepts the shards of that
    file; a recipe for shards requires these shards.
    """
    expected = recipe.source
    _check_sizes(source, expected)
    if source.layout.n_bytes != expected.n_bytes:
        raise not_the_original(source, f"it has {source.layout.n_bytes:,} bytes", expected)
    if source.header_sha256 != expected.header_sha256:
        raise not_the_original(source, "its metadata or tensors differ", expected)
    for model, file in zip(recipe.further, further, strict=True):
        _check_further(model, file)
    shards = shards_of(source) if expected.shards else None
    files = {model.number: file for model, file in zip(recipe.further, further, strict=True)}
    planned = patch_all(source, recipe.patches, shards, files)
    if not is_plan_of(planned.write_plan, recipe.result.header_sha256, recipe.result.n_bytes):
        raise RefusedError(
            "this version of ggufsurgeon would write another file than the recipe describes",
            hint=f"{recipe.patches[-1].tool} made that file: use that version, and the recipe as "
            "it was published.",
        )
    return planned


def _check_further(model: FurtherModel, file: GgufFile) -> None:
    """Raise RefusedError unless a file is the one that a recipe describes."""
    other_size = model.n_bytes not in (None, file.layout.n_bytes)
    if other_size or file.header_sha256 != model.header_sha256:
        why = f"it has {file.layout.n_bytes:,} bytes" if other_size else "its header differs"
        expected = "" if model.n_bytes is None else f"{model.n_bytes:,} bytes, and "
        raise RefusedError(
            f"{file.path} is not the file of the recipe's model {quoted(model.name)}: {why}",
            hint=f"That file has {expected}the SHA-256 {model.header_sha256} of its header.",
        )


def _check_sizes(source: GgufFile, expected: FileIdentity) -> None:
    """Raise RefusedError unless the number and the sizes of shards are as expected."""
    if not expected.shards:
        return
    if len(source.shards) != len(expected.shards):
        found = f"in {len(source.shards)} shards" if source.shards else "one file"
        why = f"it is {found}, and the original is in {len(expected.shards)} shards"
        error = not_the_original(source, why, expected)
        error.hint = "Give one of the original's shards: the result records how it was split."
        raise error
    for shard, wanted in zip(source.shards, expected.shards, strict=True):
        if shard.layout.n_bytes != wanted.n_bytes:
            raise not_the_original(shard, f"it has {shard.layout.n_bytes:,} bytes", wanted)


def not_the_original(
    source: GgufFile, why: str, expected: FileIdentity | ShardIdentity
) -> RefusedError:
    """The error for a source, or a shard of one, that the recipe is not for."""
    sha256 = f", and the SHA-256 {expected.sha256}" if expected.sha256 else ""
    hint = f"The original has {expected.n_bytes:,} bytes{sha256}."
    return RefusedError(
        f"{source.path} is not the original that the recipe is for: {why}",
        hint=f"{hint} {MERGED}" if was_merged(source) else hint,
    )


def was_merged(file: GgufFile) -> bool:
    """Whether llama-gguf-split made the file of shards."""
    return not file.shards and SPLIT_KEYS.keys() <= file.header.pair_of.keys()


def patch_all(
    source: GgufFile,
    patches: Sequence[Patch],
    shards: SourceShards | None,
    further: Mapping[int | None, GgufFile],
) -> PatchPlan:
    """Several patches as one plan. `shards` are the shards that are recorded for the source.

    `further` are the files of further models, by their numbers; None for that of MTP blocks. Raises
    RefusedError when a file between two of them cannot be cut into its shards.
    """
    first, *more = patches
    planned = _first(source, first, shards, further)
    for before, patch in zip(patches, more, strict=False):
        file = file_of_plan(source, planned.write_plan)
        if before.n_tensors:
            plans = in_shards_of(planned.write_plan, before.n_tensors)
            shards = shards_of_plans(plans, file.header)
        else:
            shards = None
        planned = two_as_one(planned, _plan(file, patch, shards))
    return planned


def _first(
    source: GgufFile,
    patch: Patch,
    shards: SourceShards | None,
    further: Mapping[int | None, GgufFile],
) -> PatchPlan:
    """The plan of the first patch, which may be over several models, or change MTP blocks."""
    if patch.mtp is not None:
        changed = plan_mtp_change(source, further.get(None), Origin(patch.tool, shards))
        file = file_of_plan(source, changed.write_plan)
        return two_as_one(changed, _plan(file, patch, None))
    if patch.outside is None:
        return _plan(source, patch, shards)
    numbers = [number for number in further if number is not None]
    # Numbers of models that were given and not used stand for any file.
    others = [further.get(n, source) for n in range(1, max(numbers) + 1)]
    origin = Origin(patch.tool, None)
    return plan_patch(
        source, patch.layers, others=others, outside=patch.outside, origin=origin, name=patch.name
    )


def _plan(file: GgufFile, patch: Patch, shards: SourceShards | None) -> PatchPlan:
    n_mtp = 0 if patch.is_trunk else find_blocks(file).n_mtp
    trunk = LayerPath(patch.layers.steps[: len(patch.layers) - n_mtp])
    origin = Origin(patch.tool, shards)
    return plan_patch(
        file, trunk, scale_weights=patch.scales_weights, origin=origin, name=patch.name
    )
