"""`ggufsurgeon plan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.output.memory import device_settings, prediction_as_json, print_prediction
from ggufsurgeon.cli.output.models import fetched_as_json, fetched_text
from ggufsurgeon.cli.output.terminal import n_bytes_text, print_json, print_text
from ggufsurgeon.cli.patching.in_place import forecast_as_json, forecast_text
from ggufsurgeon.cli.patching.patch_models import PatchModels
from ggufsurgeon.cli.patching.patch_request import check_result, patch_request
from ggufsurgeon.cli.patching.plan_results import plan_as_json, print_plan
from ggufsurgeon.cli.patching.split_size import SplitMaxSize, split_size
from ggufsurgeon.cli.shared_options.device_options import (
    CpuMoe,
    CpuMoeBlocks,
    OverrideTensors,
    cpu_moe_blocks,
    override_pairs,
    tell_overrides,
)
from ggufsurgeon.cli.shared_options.mtp_options import MtpFrom, WithoutMtp, check_mtp_options
from ggufsurgeon.cli.shared_options.options import (
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
    other_models,
)
from ggufsurgeon.cli.shared_options.recipe_option import RecipeFile
from ggufsurgeon.progress import NO_PROGRESS

if TYPE_CHECKING:
    from ggufsurgeon.planning.planner import PatchPlan
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

    max_n_bytes, others = split_size(split_max_size), other_models(with_)
    check_mtp_options(others, without_mtp, mtp_from)
    request = patch_request(
        source,
        others,
        (window, times, drop, layers, strength, damped),
        recipe,
        scale_weights=scale_weights,
        without_mtp=without_mtp,
        mtp_from=mtp_from,
    )
    check_result(request, max_n_bytes)
    models = PatchModels.opened(source, others, mtp_from)
    plan = request.plan(models, NO_PROGRESS)
    n_bytes = (plan.n_bytes,) if max_n_bytes is None else plan.n_bytes_of_shards(max_n_bytes)
    if ctx is not None:
        check_context(models.model, ctx)
    overrides = tensor_overrides(
        override_pairs(override_tensor), cpu_moe_blocks(n_cpu_moe, cpu_moe)
    )
    header = plan.planned.source.header
    settings = device_settings(header, ctx, tensor_split, n_gpu_layers, memory, overrides)
    prediction = predict_patch(plan.planned, settings)
    tell_overrides(plan.planned.source, overrides)
    if json:
        fetched = fetched_as_json(models.model)
        print_json({**_costs_as_json(plan, n_bytes, prediction), "fetched": fetched})
        return
    aliased = [] if plan.planned.donor else [_aliased_note(plan.planned)]
    _print_costs(plan, n_bytes, prediction, *aliased, *_moe_notes(n_cpu_moe))
    if models.model.fetched is not None:
        print_text(f"read {fetched_text(models.model)}")


def _print_costs(
    plan: gs.Plan, n_bytes: Sequence[int], prediction: Prediction, *notes: str
) -> None:
    """The same as `_costs_as_json`, as tables, with notes on the memory."""
    from ggufsurgeon.rules.whole_models.reader_limits import READERS_OF_SHARDS

    print_plan(plan.planned)
    if len(n_bytes) > 1:
        print_text(f"in {len(n_bytes)} shards, the largest of {n_bytes_text(max(n_bytes))}")
        print_text(f"note: {READERS_OF_SHARDS}\n")
    print_prediction(prediction, *notes)
    print_text(forecast_text(plan.planned))


def _costs_as_json(plan: gs.Plan, n_bytes: Sequence[int], prediction: Prediction) -> dict[str, Any]:
    """A plan with the sizes of its files, and what it takes on disk and in memory."""
    from ggufsurgeon.aliasing.shared_tensors import n_bytes_made
    from ggufsurgeon.rules.whole_models.reader_limits import READERS_OF_SHARDS

    planned = plan.planned
    found = plan_as_json(planned)
    found["notes"] += [READERS_OF_SHARDS] * (len(n_bytes) > 1)
    return {
        **found,
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
