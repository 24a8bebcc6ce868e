"""Checks that a source may be edited in place: it must be restorable from the patched file."""

from __future__ import annotations

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.new_tensors.span_ranges import file_of_plan
from ggufsurgeon.planning.originals.restoring import plan_restore
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.write_plan import ScaleSpan

NEW_FILE = "Patch to a new file instead"


def changes_nothing(planned: PatchPlan) -> bool:
    """Whether the layer path is the identity."""
    return planned.path == LayerPath.identity(planned.n_source_blocks)


def check_in_place(planned: PatchPlan) -> None:
    """Raise RefusedError if the source could not be restored after an edit in place."""
    source = planned.source
    if planned.donor is not None:
        raise RefusedError(
            f"MTP blocks are taken from {planned.donor.path}, and an edit in place keeps those of "
            "the file",
            hint=f"{NEW_FILE}.",
        )
    if planned.others:
        raise RefusedError(
            "the path has blocks of several models, and the original could not be restored from "
            "the result",
            hint=f"{NEW_FILE}.",
        )
    if source.shards:
        raise RefusedError(
            f"{source.path} is one of {len(source.shards)} shards, and only a single file can be "
            "edited in place",
            hint=f"{NEW_FILE}, or to new shards, and delete the old ones afterwards.",
        )
    lost = sorted(set(range(planned.n_source_blocks)) - set(planned.path.blocks))
    if lost:
        what = f"block {lost[0]}" if len(lost) == 1 else f"blocks {LayerPath.of(lost)}"
        raise RefusedError(
            f"the path leaves out {what}: what may be the only copy would be lost, and the "
            "original could not be restored",
            hint=f"{NEW_FILE}, compare the two, and delete the old one afterwards.",
        )
    if _is_lost(planned):
        raise RefusedError(
            "weights, scales or biases are multiplied by a factor and rounded: the original could "
            "not be restored",
            hint=f"{NEW_FILE}.",
        )


def _is_lost(planned: PatchPlan) -> bool:
    """Whether products take the place of numbers of the source, instead of standing in repeats."""
    if not any(isinstance(span, ScaleSpan) for span in planned.write_plan.spans):
        return False
    try:
        plan_restore(file_of_plan(planned.source, planned.write_plan))
    except RefusedError:
        return True
    return False
