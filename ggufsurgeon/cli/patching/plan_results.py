"""A plan as tables and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.output.terminal import n_bytes_text, print_table, print_text
from ggufsurgeon.cli.output.values import value_as_json, value_text

if TYPE_CHECKING:
    from ggufsurgeon.planning.planner import Change, PatchPlan


def plan_as_json(planned: PatchPlan) -> dict[str, Any]:
    """A plan as JSON."""
    return {
        "source": str(planned.source.path),
        "other_sources": [str(other.path) for other in planned.others],
        "layer_path": str(planned.path),
        "n_blocks": {"before": planned.n_source_blocks, "after": len(planned.path)},
        "n_bytes": {
            "before": planned.source.n_bytes,
            "after": planned.write_plan.n_bytes,
        },
        "notes": [*planned.notes, *planned.source_notes],
        "changes": {change.after.key: _change_as_json(change) for change in planned.changes},
        "write_plan": planned.write_plan.as_json(),
    }


def _change_as_json(change: Change) -> dict[str, Any]:
    before = value_as_json(change.before) if change.before else None
    return {"before": before, "after": value_as_json(change.after)}


def print_plan(planned: PatchPlan) -> None:
    """A plan as tables."""
    before, after = planned.source.n_bytes, planned.write_plan.n_bytes
    files = (planned.source, *planned.others)
    print_table(
        " and ".join(str(file.path) for file in files),
        ["", "before", "after"],
        [
            ("layer path", f"0..{planned.n_source_blocks - 1}", str(planned.path)),
            ("blocks", str(planned.n_source_blocks), str(len(planned.path))),
            ("size", n_bytes_text(before), n_bytes_text(after)),
        ],
    )
    for note in planned.notes:
        print_text(f"note: this file {note}\n")
    for note in planned.source_notes:
        print_text(f"note: {note}\n")
    rows = [
        (
            change.after.key,
            value_text(change.before) if change.before else "-",
            value_text(change.after),
        )
        for change in planned.changes
    ]
    if rows:
        print_table("Metadata that changes", ["key", "before", "after"], rows)
