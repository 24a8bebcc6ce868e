"""`ggufsurgeon plan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.device_options import (
    CpuMoe,
    CpuMoeBlocks,
    OverrideTensors,
    cpu_moe_blocks,
    override_pairs,
    tell_overrides,
)
from ggufsurgeon.cli.files.in_place import forecast_as_json, forecast_text
from ggufsurgeon.cli.files.split_size import SplitMaxSize, split_size
from ggufsurgeon.cli.memory import device_settings, prediction_as_json, print_prediction
from ggufsurgeon.cli.models import fetched_as_json, fetched_text
from ggufsurgeon.cli.mtp_options import MtpFrom, WithoutMtp, check_mtp_options
from ggufsurgeon.cli.options import (
    DEVICES,
    Damped,
    Drops,
    GpuLayers,
    Json,
    Layers,
    ScaleWeights,
    Source,
    Strength,
    TensorSplit,
    Times,
    Windows,
    With,
    check_context,
    layer_path,
    other_models,
)
from ggufsurgeon.cli.recipe_option import RecipeFile, by_name, check_alone, told_how_to_name
from ggufsurgeon.cli.terminal import n_bytes_text, print_json, print_table, print_text
from ggufsurgeon.cli.values import value_as_json, value_text

if TYPE_CHECKING:
    from ggufsurgeon.planning.planner import Change, PatchPlan
    from ggufsurgeon.sizing.prediction import Prediction


def plan(
    source: Source,
    window: Windows = None,
    times: Times = None,
    strength: Strength = None,
    damped: Damped = False,
    drop: Drops = None,
    layers: Layers = None,
    with_: With = None,
    recipe: RecipeFile = None,
    without_mtp: WithoutMtp = False,
    mtp_from: MtpFrom = None,
    scale_weights: ScaleWeights = False,
    n_gpu_layers: GpuLayers = None,
    tensor_split: TensorSplit = None,
    n_cpu_moe: CpuMoeBlocks = None,
    cpu_moe: CpuMoe = False,
    override_tensor: OverrideTensors = None,
    memory: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--memory",
            metavar="A,B",
            help="Memory of each GPU, such as 24GB,24GB.",
            rich_help_panel=DEVICES,
        ),
    ] = None,
    ctx: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--ctx",
            "-c",
            "--ctx-size",
            metavar="N",
            min=1,
            help="Context size in tokens.",
            show_default="4096, or the model's if smaller",
            rich_help_panel=DEVICES,
        ),
    ] = None,
    split_max_size: SplitMaxSize = None,
    json: Json = False,
) -> None:
    """Show what patch would write, and its cost in memory. Writes nothing."""
    from ggufsurgeon.rules.tensor_overrides import tensor_overrides
    from ggufsurgeon.sizing.prediction import predict_patch

    max_n_bytes = split_size(split_max_size)
    model = gs.open(source)
    options = (window, times, drop, layers, strength, damped)
    others = other_models(with_)
    check_mtp_options(others, without_mtp, mtp_from)
    if recipe is None:
        plan = model.plan(
            layer_path(*options, further=("--recipe",)),
            others=[other.path for other in others],
            scale_weights=scale_weights,
            without_mtp=without_mtp,
            mtp_from=mtp_from,
        )
    else:
        check_alone(*options, without_mtp, mtp_from, scale_weights)
        with told_how_to_name():
            plan = model.plan_recipe(recipe, others=by_name(others))
    n_bytes = (plan.n_bytes,) if max_n_bytes is None else plan.n_bytes_of_shards(max_n_bytes)
    planned = plan.planned
    if ctx is not None:
        check_context(model, ctx)
    overrides = tensor_overrides(
        override_pairs(override_tensor), cpu_moe_blocks(n_cpu_moe, cpu_moe)
    )
    settings = device_settings(
        planned.source.header, ctx, tensor_split, n_gpu_layers, memory, overrides
    )
    prediction = predict_patch(planned, settings)
    tell_overrides(planned.source, overrides)
    if json:
        print_json({**_costs_as_json(plan, n_bytes, prediction), "fetched": fetched_as_json(model)})
    else:
        print_plan(planned)
        if len(n_bytes) > 1:
            print_text(f"in {len(n_bytes)} shards, the largest of {n_bytes_text(max(n_bytes))}\n")
        aliased = [] if mtp_from else [_aliased_note(planned)]
        print_prediction(prediction, *aliased, *_moe_notes(n_cpu_moe))
        print_text(forecast_text(planned))
        if model.fetched is not None:
            print_text(f"read {fetched_text(model)}")


def _costs_as_json(plan: gs.Plan, n_bytes: Sequence[int], prediction: Prediction) -> dict[str, Any]:
    """A plan with the sizes of its files, and what it takes on disk and in memory."""
    from ggufsurgeon.aliasing.shared_tensors import n_bytes_made

    planned = plan.planned
    return {
        **plan_as_json(planned),
        "n_bytes_of_files": n_bytes,
        "in_place": forecast_as_json(planned),
        "n_bytes_shareable": plan.n_bytes_shareable,
        "memory": {
            **prediction_as_json(prediction),
            "n_bytes_aliased_weights": n_bytes_made(
                planned.write_plan, [planned.source, *planned.others]
            ),
        },
    }


def _moe_notes(n_cpu_moe: int | None) -> list[str]:
    """Whose blocks --n-cpu-moe counts, if it is given."""
    if not n_cpu_moe:
        return []
    return [
        f"--n-cpu-moe {n_cpu_moe} counts blocks as the loaded file has them: those of the new file "
        "here, and those of the source where the path runs without a file"
    ]


def _aliased_note(planned: PatchPlan) -> str:
    """The cost of the path without a file."""
    from ggufsurgeon.aliasing.shared_tensors import n_bytes_made

    n_bytes = n_bytes_made(planned.write_plan, [planned.source, *planned.others])
    weights = f"{n_bytes_text(n_bytes)} of weights that change" if n_bytes else "no weights"
    models = "all of its models, loaded whole," if planned.others else "the source"
    those = "all models" if planned.others else "the source"
    return (
        f"generate, chat and serve run this path over {models} without a file: it then takes "
        f"{weights} beside those of {those}, and the cache above"
    )


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
