"""Recipes: what rebuilds a patched file, to the byte, from the original that everybody can have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.header import Header
from ggufsurgeon.errors import LostError, RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import Change, PatchPlan, plan_patch
from ggufsurgeon.planning.provenance import Provenance, is_scaled, read_provenance
from ggufsurgeon.planning.restoring import (
    MOST_PATCHES,
    RestorePlan,
    check_single,
    plan_restore,
)
from ggufsurgeon.planning.source_pairs import damaged, no_record, recorded_path, source_pairs
from ggufsurgeon.planning.span_ranges import compose, file_of_plan
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.write_plan import WritePlan

TOOL = re.compile(r"ggufsurgeon [0-9A-Za-z][0-9A-Za-z.+]{0,30}")


@dataclass(frozen=True)
class Patch:
    """One patch: the blocks in order, with MTP blocks behind them, and the program that did it."""

    layers: LayerPath
    tool: str
    """Such as `ggufsurgeon 0.1.0`: the file names it, so that the same bytes need it."""
    scales_weights: bool = False


@dataclass(frozen=True)
class FileIdentity:
    """How to tell that a file is the one that is meant."""

    n_bytes: int
    header_sha256: str
    sha256: str | None
    """Of the whole file; None where it is not known."""


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
    original: RestorePlan | None
    """The original as it can be restored; None where blocks of it are lost."""


def find_ingredients(patched: GgufFile) -> Ingredients:
    """The patches that made a file, and its original, from its header.

    Raises RefusedError when the file records no patch, or was changed since, and for shards.
    """
    check_single(patched)
    patches: list[Patch] = []
    header, first = patched.header, None
    while (record := read_provenance(header)) is not None and len(patches) <= MOST_PATCHES:
        first = record
        patches.append(_patch_of(header, record))
        pairs = source_pairs(header, str(patched.path))
        header = Header(header.version, header.byte_order, pairs, ())
    if first is None:
        raise no_record(patched)
    if len(patches) > MOST_PATCHES:
        raise RefusedError(f"{patched.path} records more than {MOST_PATCHES} patches")
    patches.reverse()
    original = _original(patched)
    found = Ingredients(tuple(patches), first.source_n_bytes, first.source_header_sha256, original)
    if original is not None:
        _check_rebuilds(patched, found)
    return found


def _patch_of(header: Header, record: Provenance) -> Patch:
    if TOOL.fullmatch(record.tool) is None:
        raise damaged("tool")
    return Patch(recorded_path(record), record.tool, is_scaled(header))


def _original(patched: GgufFile) -> RestorePlan | None:
    try:
        plan = plan_restore(patched)
    except LostError:
        return None
    return None if plan.remaining else plan


def _check_rebuilds(patched: GgufFile, found: Ingredients) -> None:
    """Raise RefusedError unless the patches make this file's header of the original."""
    assert found.original is not None
    rebuilt = _patch_all(found.original.restored, found.patches).write_plan
    if not _makes(rebuilt, patched.header_sha256, patched.layout.n_bytes):
        raise RefusedError(
            f"{patched.path} is not what this version of ggufsurgeon makes of its original, so "
            "that no recipe for it can be promised to work",
            hint="Patch the original again with this version.",
        )


def _makes(plan: WritePlan, header_sha256: str, n_bytes: int) -> bool:
    found = hashlib.sha256(plan.header).hexdigest()
    return (found, plan.n_bytes) == (header_sha256, n_bytes)


def plan_recipe(source: GgufFile, recipe: Recipe) -> PatchPlan:
    """Plan the file of a recipe. The data of `source` is not looked at, nothing is written.

    Raises RefusedError when `source` is not the original of the recipe by its size or its header,
    or when this version would write another file.
    """
    expected = recipe.source
    if source.layout.n_bytes != expected.n_bytes:
        raise not_the_original(source, f"it has {source.layout.n_bytes:,} bytes", expected)
    if source.header_sha256 != expected.header_sha256:
        raise not_the_original(source, "its metadata or tensors are other ones", expected)
    planned = _patch_all(source, recipe.patches)
    if not _makes(planned.write_plan, recipe.result.header_sha256, recipe.result.n_bytes):
        raise RefusedError(
            "this version of ggufsurgeon would write another file than the recipe describes",
            hint=f"Use {recipe.patches[-1].tool}, which made it.",
        )
    return planned


def not_the_original(source: GgufFile, why: str, expected: FileIdentity) -> RefusedError:
    """The error for a source that the recipe is not for."""
    sha256 = f", and the SHA-256 {expected.sha256}" if expected.sha256 else ""
    return RefusedError(
        f"{source.path} is not the original that the recipe is for: {why}",
        hint=f"The original has {expected.n_bytes:,} bytes{sha256}.",
    )


def _patch_all(source: GgufFile, patches: Sequence[Patch]) -> PatchPlan:
    """One patch after another, as one plan."""
    first, *more = patches
    planned = _plan(source, first)
    for patch in more:
        step = _plan(file_of_plan(source, planned.write_plan), patch)
        planned = _joined(planned, step)
    return planned


def _plan(file: GgufFile, patch: Patch) -> PatchPlan:
    blocks = find_blocks(file)
    trunk = LayerPath(patch.layers.steps[: len(patch.layers) - blocks.n_mtp])
    return plan_patch(file, trunk, scale_weights=patch.scales_weights, tool=patch.tool)


def _joined(before: PatchPlan, step: PatchPlan) -> PatchPlan:
    """Two patches as one."""
    plan = compose(before.write_plan, step.write_plan)
    header = file_of_plan(before.source, plan).header
    old = before.source.header.pair_of
    changes = tuple(
        Change(old.get(pair.key), pair)
        for pair in header.pairs
        if pair.key not in old or old[pair.key].raw != pair.raw
    )
    path = LayerPath.of(before.path.blocks[block] for block in step.path.blocks)
    notes = tuple(dict.fromkeys((*before.notes, *step.notes)))
    return PatchPlan(before.source, path, before.n_source_blocks, notes, changes, plan)
