"""What a patched file records of how it was made, as far as a recipe can express it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.errors import LostError, RefusedError
from ggufsurgeon.layer_path.model_names import MODEL_NAME
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.recorded_models import RecordedModels, read_models
from ggufsurgeon.planning.mtp_change.changing import NO_MTP
from ggufsurgeon.planning.originals.restoring import MOST_PATCHES, RestorePlan, plan_restore
from ggufsurgeon.planning.originals.source_pairs import (
    damaged,
    header_before,
    no_record,
    recorded_path,
)
from ggufsurgeon.planning.originals.source_shards import SourceShards, read_shards, shards_of
from ggufsurgeon.planning.planner import joined_plan
from ggufsurgeon.planning.provenance import (
    GIVEN_NAME,
    MTP,
    PREFIX,
    Provenance,
    is_scaled,
    read_provenance,
)
from ggufsurgeon.planning.rebuilding.recipes import (
    MERGED,
    TOOL,
    FurtherModel,
    Patch,
    is_plan_of,
    patch_all,
    was_merged,
)
from ggufsurgeon.planning.sharding import in_shards_of
from ggufsurgeon.rules.blocks import find_blocks

DONOR = "mtp-donor"
"""The name, in recipes, of the file that MTP blocks were taken from."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    further: tuple[FurtherModel, ...] = ()
    """The models that the file was made from besides the original."""
    models: RecordedModels | None = None
    """The models of the first patch, with its layer path; None where it was over one alone."""


def find_ingredients(patched: GgufFile) -> Ingredients:
    """The patches that made a file, and its original, from its header.

    The original of a file of several models is model 0 of its path. Raises RefusedError when the
    file records no patch, or was changed since.
    """
    patches, first, models, shards = _recorded_patches(patched)
    _check_mtp(patched, patches)
    if patches[0].mtp is not None or models is not None:
        patches = list(_over_trunks(patches, find_blocks(patched).n_mtp))
    _check_shards(patched, patches[-1].n_tensors)
    original = None if models else _original(patched)
    further = tuple(_further(patches[0], models))
    n_bytes, digest = first.source_n_bytes, first.source_header_sha256
    found = Ingredients(tuple(patches), n_bytes, digest, shards, original, further, models)
    if original is not None and not further:  # further files are not at hand
        _check_rebuilds(patched, found)
    return found


class _Recorded(NamedTuple):
    patches: list[Patch]
    """In the order in which they were done."""
    first: Provenance
    """The record of the first."""
    models: RecordedModels | None
    """Of the first patch, if it was over several models."""
    shards: SourceShards | None
    """The shards of the original; None for a single file."""


def _recorded_patches(patched: GgufFile) -> _Recorded:
    patches: list[Patch] = []
    header, first, models = patched.header, None, None
    shards = shards_of(patched)
    while (record := read_provenance(header)) is not None and len(patches) <= MOST_PATCHES:
        first, models = record, read_models(header)
        patches.append(_patch_of(header, record, models, shards))
        shards = None if models else read_shards(header, str(patched.path))
        if models is not None:  # their own records are left out
            break
        header = header_before(header, str(patched.path))
    if first is None:
        raise no_record(patched)
    if len(patches) > MOST_PATCHES:
        raise RefusedError(f"{patched.path} records more than {MOST_PATCHES} patches")
    return _Recorded(patches[::-1], first, models, shards)


def _patch_of(
    header: Header,
    record: Provenance,
    models: RecordedModels | None,
    shards: SourceShards | None,
) -> Patch:
    if TOOL.fullmatch(record.tool) is None:
        raise damaged("tool")
    name = header.get(PREFIX + GIVEN_NAME)
    if not (name is None or (isinstance(name, str) and MODEL_NAME.fullmatch(name))):
        raise damaged(GIVEN_NAME)
    mtp = header.get(PREFIX + MTP)
    is_mtp = isinstance(mtp, str) and (mtp == NO_MTP or _SHA256.fullmatch(mtp) is not None)
    if not (mtp is None or is_mtp):
        raise damaged(MTP)
    return Patch(
        models.layer_path if models else recorded_path(record),
        record.tool,
        is_scaled(header),
        name,
        shards.n_tensors if shards else (),
        models.outside if models else None,
        mtp if isinstance(mtp, str) else None,
    )


def _further(patch: Patch, models: RecordedModels | None) -> Iterator[FurtherModel]:
    """The models that the first patch takes something from, besides its source."""
    for number, (n_bytes, digest) in sorted(models.models.items()) if models else ():
        if number:
            yield FurtherModel(f"model-{number}", number, digest, n_bytes)
    if patch.mtp not in (None, NO_MTP):
        yield FurtherModel(DONOR, None, patch.mtp)


def _check_mtp(patched: GgufFile, patches: Sequence[Patch]) -> None:
    """Raise RefusedError where MTP blocks were changed after another patch."""
    if any(patch.mtp is not None for patch in patches[1:]):
        raise RefusedError(
            f"the MTP blocks of {patched.path} were left out or replaced after an earlier patch: "
            "recipes change MTP blocks first",
            hint="Patch the original again, and change its MTP blocks in that patch.",
        )


def _over_trunks(patches: Sequence[Patch], n_mtp: int) -> Iterator[Patch]:
    """The patches without MTP blocks; a change of MTP blocks is merged with the patch after it.

    `n_mtp` is the number of MTP blocks of the last file, and so of every file after the change.
    """
    first, *more = patches
    if first.mtp is None:
        first = _over_trunk(first, n_mtp)
    elif first.layers != LayerPath.identity(len(first.layers)):
        raise damaged("blocks")
    elif more and (more[0].tool, first.n_tensors) == (first.tool, ()):
        first = replace(_over_trunk(more.pop(0), n_mtp), mtp=first.mtp)
    yield replace(first, is_trunk=True)
    yield from (_over_trunk(patch, n_mtp) for patch in more)


def _over_trunk(patch: Patch, n_mtp: int) -> Patch:
    steps = patch.layers.steps
    if len(steps) <= n_mtp:
        raise damaged("blocks")
    return replace(patch, layers=LayerPath(steps[: len(steps) - n_mtp]), is_trunk=True)


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
        f"the shards of {patched.path} are not as ggufsurgeon writes them, so a recipe could not "
        "rebuild them",
        hint="Join them by a patch along the path of all blocks, and make a recipe of the result.",
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
    rebuilt = patch_all(original, found.patches, found.source_shards, {}).write_plan
    if not is_plan_of(rebuilt, patched.header_sha256, patched.layout.n_bytes):
        raise RefusedError(
            f"{patched.path} is not what this version of ggufsurgeon makes of its original, so "
            "a recipe might not rebuild it",
            hint=MERGED if was_merged(patched) else "Patch the original again with this version.",
        )
