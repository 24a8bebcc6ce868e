"""Recipes: what rebuilds a patched file, to the byte, from the original that everybody can have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.header import Header
from ggufsurgeon.container.shards import SPLIT_KEYS
from ggufsurgeon.errors import LostError, RefusedError
from ggufsurgeon.layer_path.model_names import MODEL_NAME
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import Origin, PatchPlan, changes_of, joined_plan, plan_patch
from ggufsurgeon.planning.provenance import (
    GIVEN_NAME,
    MTP,
    PREFIX,
    Provenance,
    is_scaled,
    read_provenance,
)
from ggufsurgeon.planning.restoring import MOST_PATCHES, RestorePlan, plan_restore
from ggufsurgeon.planning.sharding import in_shards_of
from ggufsurgeon.planning.source_pairs import damaged, no_record, recorded_path, source_pairs
from ggufsurgeon.planning.source_shards import (
    SourceShards,
    read_shards,
    shards_of,
    shards_of_plans,
)
from ggufsurgeon.planning.span_ranges import compose, file_of_plan
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
    """Such as `ggufsurgeon 0.1.0`: the file names it, so that the same bytes need it."""
    scales_weights: bool = False
    name: str | None = None
    """The name that was given to the model; None for one that follows from the source's."""
    n_tensors: tuple[int, ...] = ()
    """The number of tensors of each shard that it wrote; empty for a single file."""


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
class Recipe:
    """An original, the patches in the order in which they are done, and the result.

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


@dataclass(frozen=True)
class Ingredients:
    """What a recipe is made of, before files are hashed."""

    patches: tuple[Patch, ...]
    source_n_bytes: int
    source_header_sha256: str
    source_shards: SourceShards | None
    """The shards of the original; None for a single file."""
    original: RestorePlan | None
    """The original as it can be restored; None where blocks of it are lost."""


def find_ingredients(patched: GgufFile) -> Ingredients:
    """The patches that made a file, and its original, from its header.

    Raises RefusedError when the file records no patch, or was changed since.
    """
    patches: list[Patch] = []
    header, first = patched.header, None
    shards = shards_of(patched)
    while (record := read_provenance(header)) is not None and len(patches) <= MOST_PATCHES:
        first = record
        patches.append(_patch_of(header, record, shards))
        shards = read_shards(header, str(patched.path))
        pairs = source_pairs(header, str(patched.path))
        header = Header(header.version, header.byte_order, pairs, ())
    if first is None:
        raise no_record(patched)
    if len(patches) > MOST_PATCHES:
        raise RefusedError(f"{patched.path} records more than {MOST_PATCHES} patches")
    patches.reverse()
    _check_shards(patched, patches[-1].n_tensors)
    original = _original(patched)
    found = Ingredients(
        tuple(patches), first.source_n_bytes, first.source_header_sha256, shards, original
    )
    if original is not None:
        _check_rebuilds(patched, found)
    return found


def _patch_of(header: Header, record: Provenance, shards: SourceShards | None) -> Patch:
    if TOOL.fullmatch(record.tool) is None:
        raise damaged("tool")
    name = header.get(PREFIX + GIVEN_NAME)
    if not (name is None or (isinstance(name, str) and MODEL_NAME.fullmatch(name))):
        raise damaged(GIVEN_NAME)
    if PREFIX + MTP in header.pair_of:
        raise RefusedError(
            "the file has other MTP blocks than its original, or none: a recipe does not record "
            "where they come from"
        )
    n_tensors = shards.n_tensors if shards else ()
    return Patch(recorded_path(record), record.tool, is_scaled(header), name, n_tensors)


def _check_shards(patched: GgufFile, n_tensors: Sequence[int]) -> None:
    """Raise RefusedError unless this program would write the same shards from the joined file."""
    if not patched.shards:
        return
    if n_tensors:
        plans = in_shards_of(joined_plan(patched), n_tensors)
        made = [(hashlib.sha256(plan.header).hexdigest(), plan.n_bytes) for plan in plans]
        if made == [(shard.header_sha256, shard.layout.n_bytes) for shard in patched.shards]:
            return
    raise RefusedError(
        f"the shards of {patched.path} are not as ggufsurgeon writes them, so that a recipe could "
        "not rebuild them",
        hint="Join them with a patch along the path of all blocks, and make a recipe of that.",
    )


def _original(patched: GgufFile) -> RestorePlan | None:
    try:
        plan = plan_restore(patched)
    except LostError:
        return None
    return None if plan.remaining else plan


def _check_rebuilds(patched: GgufFile, found: Ingredients) -> None:
    """Raise RefusedError unless the patches make this file's header of the original."""
    assert found.original is not None
    original = found.original.restored
    rebuilt = _patch_all(original, found.patches, found.source_shards).write_plan
    if not _makes(rebuilt, patched.header_sha256, patched.layout.n_bytes):
        raise RefusedError(
            f"{patched.path} is not what this version of ggufsurgeon makes of its original, so "
            "that no recipe for it can be promised to work",
            hint=MERGED if _was_merged(patched) else "Patch the original again with this version.",
        )


def _makes(plan: WritePlan, header_sha256: str, n_bytes: int) -> bool:
    found = hashlib.sha256(plan.header).hexdigest()
    return (found, plan.n_bytes) == (header_sha256, n_bytes)


def plan_recipe(source: GgufFile, recipe: Recipe) -> PatchPlan:
    """Plan the file of a recipe. The data of `source` is not looked at, nothing is written.

    Raises RefusedError when `source` is not the original of the recipe by its size or its header,
    or when this version would write another file. A recipe for a single file also accepts the
    shards of that file; a recipe for shards requires these shards.
    """
    expected = recipe.source
    _check_sizes(source, expected)
    if source.layout.n_bytes != expected.n_bytes:
        raise not_the_original(source, f"it has {source.layout.n_bytes:,} bytes", expected)
    if source.header_sha256 != expected.header_sha256:
        raise not_the_original(source, "its metadata or tensors are other ones", expected)
    planned = _patch_all(source, recipe.patches, shards_of(source) if expected.shards else None)
    if not _makes(planned.write_plan, recipe.result.header_sha256, recipe.result.n_bytes):
        raise RefusedError(
            "this version of ggufsurgeon would write another file than the recipe describes",
            hint=f"{recipe.patches[-1].tool} made that file: use that version, and the recipe as "
            "it was published.",
        )
    return planned


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
        hint=f"{hint} {MERGED}" if _was_merged(source) else hint,
    )


def _was_merged(file: GgufFile) -> bool:
    return not file.shards and SPLIT_KEYS.keys() <= file.header.pair_of.keys()


def _patch_all(
    source: GgufFile, patches: Sequence[Patch], shards: SourceShards | None
) -> PatchPlan:
    """Several patches as one plan. `shards` are the shards that are recorded for the source.

    Raises RefusedError when a file between two of them cannot be cut into its shards.
    """
    first, *more = patches
    planned = _plan(source, first, shards)
    for before, patch in zip(patches, more, strict=False):
        file = file_of_plan(source, planned.write_plan)
        if before.n_tensors:
            plans = in_shards_of(planned.write_plan, before.n_tensors)
            shards = shards_of_plans(plans, file.header)
        else:
            shards = None
        planned = _joined(planned, _plan(file, patch, shards))
    return planned


def _plan(file: GgufFile, patch: Patch, shards: SourceShards | None) -> PatchPlan:
    blocks = find_blocks(file)
    trunk = LayerPath(patch.layers.steps[: len(patch.layers) - blocks.n_mtp])
    origin = Origin(patch.tool, shards)
    return plan_patch(
        file, trunk, scale_weights=patch.scales_weights, origin=origin, name=patch.name
    )


def _joined(before: PatchPlan, step: PatchPlan) -> PatchPlan:
    """Two patches as one."""
    plan = compose(before.write_plan, step.write_plan)
    header = file_of_plan(before.source, plan).header
    changes = changes_of(before.source.header, header)
    path = step.path.behind(before.path)
    notes = tuple(dict.fromkeys((*before.notes, *step.notes)))
    return PatchPlan(before.source, path, before.n_source_blocks, notes, changes, plan)
