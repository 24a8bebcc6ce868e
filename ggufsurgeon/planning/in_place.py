"""Which patched files may take the place of their source: those from which it can be restored."""

from __future__ import annotations

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.write_plan import ScaleSpan

NEW_FILE = "Patch to a new file instead"


def changes_nothing(planned: PatchPlan) -> bool:
    """Whether the plan is that of the identity path."""
    return planned.path == LayerPath.identity(planned.n_source_blocks)


def check_in_place(planned: PatchPlan) -> None:
    """Raise RefusedError when the source must not be changed, because something would be lost."""
    source = planned.source
    if source.shards:
        raise RefusedError(
            f"{source.path} is one of {len(source.shards)} shards, and a single file is edited in "
            "place",
            hint=f"{NEW_FILE}, or to new shards, and delete the old ones then.",
        )
    lost = sorted(set(range(planned.n_source_blocks)) - set(planned.path.blocks))
    if lost:
        what = f"block {lost[0]}" if len(lost) == 1 else f"blocks {LayerPath.of(lost)}"
        raise RefusedError(
            f"the path leaves out {what}: the file would lose what may be the only copy, and could "
            "not be restored",
            hint=f"{NEW_FILE}, compare the two, and delete the old one then.",
        )
    if any(isinstance(span, ScaleSpan) for span in planned.write_plan.spans):
        raise RefusedError(
            "weights are multiplied by a factor and rounded: the file could not be restored",
            hint=f"{NEW_FILE}.",
        )
