"""Patches with other MTP blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggufsurgeon.api.model_files.sources import is_same_file
from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.locating.locate import locate
from ggufsurgeon.planning.mtp_change.planning import MTP_OF_SEVERAL, plan_with_mtp
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.rules.blocks import find_blocks

if TYPE_CHECKING:
    from ggufsurgeon.api.model_files.files import ModelFile


def plan_mtp(
    source: GgufFile,
    path: AnyPath,
    without_mtp: bool,
    mtp_from: ModelFile | PathLike | None,
    has_others: bool,
    *,
    scale_weights: bool,
) -> PatchPlan:
    """As `ModelFile.plan`, where MTP blocks do not stay as they are."""
    if without_mtp and mtp_from is not None:
        raise UsageError("MTP blocks can be left out or taken from a file, but not both")
    if has_others:
        raise UsageError(MTP_OF_SEVERAL)
    donor = None if mtp_from is None else donor_file(mtp_from)
    if donor is not None and is_same_file(source, donor) and find_blocks(source).n_mtp:
        raise UsageError(
            f"MTP blocks are to be taken from {donor.path}, which is the source: it keeps its own",
            hint="Name no file for them.",
        )
    return plan_with_mtp(source, path, donor, scale_weights=scale_weights)


def donor_file(given: ModelFile | PathLike) -> GgufFile:
    """The file that MTP blocks are taken from."""
    file: GgufFile = getattr(given, "file", None) or locate(given).file  # type: ignore[arg-type]
    return file
