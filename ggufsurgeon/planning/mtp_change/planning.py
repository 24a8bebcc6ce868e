"""Patches of models whose MTP blocks are left out, or are those of another file."""

from __future__ import annotations

from contextlib import suppress

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import RefusedError, UsageError, VerificationError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mtp_change.changing import NO_MTP, change_mtp
from ggufsurgeon.planning.new_tensors.span_ranges import file_of_plan
from ggufsurgeon.planning.originals.source_pairs import header_before
from ggufsurgeon.planning.originals.source_shards import shards_of
from ggufsurgeon.planning.planner import Origin, PatchPlan, changes_of, plan_patch
from ggufsurgeon.planning.provenance import MTP, PREFIX, Provenance, read_provenance
from ggufsurgeon.planning.two_patches import two_as_one
from ggufsurgeon.rules.blocks import find_blocks

LEFT_OUT = (
    "has no MTP blocks, but its source has: engines cannot use them to draft tokens, and they "
    "cannot be restored from this file"
)
REPLACED = (
    "has MTP blocks of another file in place of its source's own, which cannot be restored from "
    "this file"
)
MTP_OF_SEVERAL = "on a path over several models, MTP blocks are those of the model of the output"


def plan_with_mtp(
    source: GgufFile,
    path: AnyPath,
    donor: GgufFile | None,
    *,
    scale_weights: bool = False,
    name: str | None = None,
) -> PatchPlan:
    """Plan the file in which the blocks of `path` run, without MTP blocks, or with those of
    `donor`. Raises as `plan_patch`, and as `change_mtp`."""
    changed = plan_mtp_change(source, donor)
    file = file_of_plan(source, changed.write_plan)
    step = plan_patch(file, path, scale_weights=scale_weights, name=name)
    return two_as_one(changed, step)


def plan_mtp_change(
    source: GgufFile, donor: GgufFile | None, origin: Origin | None = None
) -> PatchPlan:
    """Plan the file without MTP blocks, or with those of `donor`; all else stays.

    Raises as `change_mtp`.
    """
    plan = change_mtp(source, donor, origin).plan
    had, has = find_blocks(source), find_blocks(file_of_plan(source, plan))
    notes = [REPLACED if donor else LEFT_OUT] * bool(had.of_block[-1] and had.n_mtp)
    return PatchPlan(
        source,
        LayerPath.identity(len(has)),
        len(had),
        tuple(notes),
        changes_of(source.header, plan.parsed[0]),
        plan,
        others=() if donor is None else (donor,),
        donor=donor,
    )


def recorded_mtp(patched: GgufFile) -> tuple[str, Provenance] | None:
    """Where a file has its MTP blocks from, by its record, and the record of that change.

    None where they are those of its source. The first is NO_MTP where they were left out, or the
    SHA-256 of the header of the file that they were taken from.
    """
    headers = [patched.header]
    record = read_provenance(patched.header)
    if record is not None and not record.is_of_several:  # of several, MTP blocks stay as they are
        with suppress(RefusedError):  # earlier versions recorded less, and left MTP blocks alone
            headers.append(header_before(patched.header, str(patched.path)))
    for header in headers:
        found, record = header.get(PREFIX + MTP), read_provenance(header)
        if isinstance(found, str) and record is not None:
            return found, record
    return None


def source_with_mtp(patched: GgufFile, source: GgufFile, donor: GgufFile | None) -> GgufFile | None:
    """What `patched` was made from: `source` with the MTP blocks that the record of it names.

    None where that is the source as it is, or another file. Raises UsageError where the donor is
    missing, VerificationError where it is another file, and as `change_mtp`.
    """
    found = recorded_mtp(patched)
    if found is None or found[1].source_header_sha256 != source.header_sha256:
        return None
    mtp, record = found
    origin = Origin(record.tool, shards_of(source))
    if mtp == NO_MTP:
        return change_mtp(source, None, origin).readable
    if donor is None:
        raise UsageError(
            f"the MTP blocks of {patched.path} were taken from another file, whose header has a "
            f"SHA-256 that begins with {mtp[:16]}: give that file too"
        )
    if donor.header_sha256 != mtp:
        raise VerificationError(
            f"the MTP blocks of {patched.path} were not taken from {donor.path}, so they cannot "
            f"be proven"
        )
    return change_mtp(source, donor, origin).readable
