"""`ggufsurgeon choose`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeAlias

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.measuring.choice_results import print_details, print_results, results_as_json
from ggufsurgeon.cli.measuring.task_files import tasks_of
from ggufsurgeon.cli.output.further_models import tell_further_models
from ggufsurgeon.cli.output.models import on_disk
from ggufsurgeon.cli.output.terminal import print_json, print_note, watched
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.options import (
    MEASURING,
    OUTPUT,
    Damped,
    Drops,
    Json,
    Layers,
    Quiet,
    Source,
    Strength,
    Times,
    Windows,
    With,
)
from ggufsurgeon.cli.shared_options.recipe_option import RecipeFile, asked_path_beside_model
from ggufsurgeon.multiple_choice.tasks import TaskFormat

if TYPE_CHECKING:
    from ggufsurgeon.cli.measuring.choice_results import NamedResult
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.layer_path.edits import AnyPath
    from ggufsurgeon.multiple_choice.task_results import CompletedTasks

    Evaluation: TypeAlias = tuple[Path, list[AnyPath | None]]
    """A model, and the layer paths that it is evaluated along."""

Tasks: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--tasks",
        "-f",
        metavar="FILE",
        help="File of multiple-choice tasks.",
        show_default=False,
        readable=False,
    ),
]
Format: TypeAlias = Annotated[
    TaskFormat,
    typer.Option(
        "--format",
        help="Format of the tasks: JSON lines, or a llama-perplexity format.",
        rich_help_panel=MEASURING,
    ),
]
Limit: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--limit",
        metavar="N",
        min=1,
        help="Evaluate the same N-task subset as llama-perplexity.",
        show_default="all tasks",
        rich_help_panel=MEASURING,
    ),
]
ChoiceBase: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--base",
        metavar="FILE",
        help="Base model to compare with; with a layer path alone, MODEL as it is.",
        readable=False,
        rich_help_panel=MEASURING,
    ),
]
TaskDetails: TypeAlias = Annotated[
    bool,
    typer.Option("--details", help="Also print the results of each task.", rich_help_panel=OUTPUT),
]


@with_device_options
def choose(
    model: Source,
    tasks: Tasks,
    task_format: Format = TaskFormat.JSONL,
    limit: Limit = None,
    window: Windows = None,
    times: Times = None,
    strength: Strength = None,
    damped: Damped = False,
    drop: Drops = None,
    layers: Layers = None,
    with_: With = None,
    recipe: RecipeFile = None,
    base: ChoiceBase = None,
    details: TaskDetails = False,
    *,
    devices: Devices,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate multiple-choice tasks by log-likelihood: accuracy and margin, with errors."""
    options = (window, times, drop, layers, strength, damped)
    asked = asked_path_beside_model(model, recipe, options, with_)
    tell_further_models(model, asked.others, devices)
    for path in filter(None, (model, *asked.others, base)):
        gs.open(path)  # a file that cannot be read is reported before the first run
    evaluations = _evaluations(model, base, asked.path)
    evaluate = partial(
        _evaluate,
        devices=devices,
        tasks=tasks_of(tasks, task_format),  # once: a pipe cannot be read again for the base
        task_format=task_format.value,
        limit=limit,
    )
    results: list[NamedResult] = []
    try:
        with watched() as progress:
            for evaluated, paths in evaluations:
                more = asked.others if evaluated == model else []
                evaluate(evaluated, more, paths, results, progress=progress)
    except Interrupted:
        _show(tasks, json, details, results)
        raise
    _show(tasks, json, details, results)


def _evaluations(model: Path, base: Path | None, path: AnyPath | None) -> list[Evaluation]:
    """What the options ask for; a layer path alone is compared with the unmodified model."""
    if path is None:
        return [(evaluated, []) for evaluated in (model, base) if evaluated is not None]
    return [(model, [path, None])] if base is None else [(model, [path]), (base, [None])]


def _evaluate(
    model: Path,
    others: Sequence[Path],
    paths: list[AnyPath | None],
    results: list[NamedResult],
    *,
    devices: gs.Devices,
    **options: Any,
) -> None:
    """Append the results of a model; where it is interrupted, those of the tasks so far."""
    latest: deque[CompletedTasks] = deque(maxlen=1)
    try:
        with gs.load(
            on_disk(model), devices, others=[on_disk(other) for other in others]
        ) as loaded:
            if not results:
                tell_devices(loaded, devices)
            found = loaded.choose(paths=paths, on_result=latest.append, **options)
    except Interrupted:
        results += [(model, each) for completed in latest for each in completed.results()]
        raise
    results += [(model, each) for each in found]


def _show(tasks: Path, as_json: bool, details: bool, results: list[NamedResult]) -> None:
    """Print the results, and their difference where both are of the same tasks."""
    if not results:
        print_note("interrupted before the first task finished")
        return
    # An interrupted base has fewer tasks.
    compared = [each for _, each in results if each.n_tasks == results[0][1].n_tasks]
    difference = gs.paired_difference(*compared) if len(compared) == 2 else None
    if as_json:
        print_json(results_as_json(results, difference, details))
        return
    print_results(results, difference)
    if details:
        print_details(results, tasks)
