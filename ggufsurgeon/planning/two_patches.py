"""Two patches as one, without the file between them."""

from __future__ import annotations

from ggufsurgeon.planning.new_tensors.span_ranges import compose
from ggufsurgeon.planning.planner import PatchPlan, changes_of


def two_as_one(before: PatchPlan, step: PatchPlan) -> PatchPlan:
    """Combine the plan of a file, `before`, with a plan over that file, `step`.

    The result is over the sources of `before`.

    Raises RefusedError where two patches have cut one tensor.
    """
    plan = compose(before.write_plan, step.write_plan)
    return PatchPlan(
        before.source,
        step.path.behind(before.path),
        before.n_source_blocks,
        tuple(dict.fromkeys((*before.notes, *step.notes))),
        changes_of(before.source.header, plan.parsed[0]),
        plan,
        tuple(dict.fromkeys((*before.source_notes, *step.source_notes))),
        before.others,
        before.equal_data,
        before.donor,
    )
