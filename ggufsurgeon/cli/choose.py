"""`ggufsurgeon choose`."""

from __future__ import annotations

from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ggufsurgeon.api.loaded_model import load
from ggufsurgeon.cli.devices import print_devices
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.options import (
    Drops,
    GpuLayers,
    Json,
    Layers,
    Quiet,
    Rpc,
    Source,
    TensorSplit,
    Threads,
    Times,
    Windows,
    device_options,
    optional_layer_path,
)
from ggufsurgeon.cli.serializers import change_as_json, choices_as_json
from ggufsurgeon.cli.terminal import print_json, print_note, print_table, watched
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.multiple_choice.tasks import TaskFormat
from ggufsurgeon.rules.blocks import find_blocks

if TYPE_CHECKING:
    from ggufsurgeon.multiple_choice.choices import Answered, Change, Choices
    from ggufsurgeon.statistics.estimate import Estimate


def choose(
    model: Source,
    tasks: Annotated[
        Path,
        typer.Option(
            "--tasks",
            "-f",
            metavar="FILE",
            help="File of multiple-choice tasks.",
            show_default=False,
            readable=False,
        ),
    ],
    task_format: Annotated[
        TaskFormat,
        typer.Option(
            "--format", help="Format of the tasks: JSON lines, or a llama-perplexity format."
        ),
    ] = TaskFormat.JSONL,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="Evaluate the same N-task subset as llama-perplexity (default: all tasks).",
        ),
    ] = None,
    window: Windows = None,
    times: Times = None,
    drop: Drops = None,
    layers: Layers = None,
    base: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--base",
            metavar="FILE",
            help="Base model to compare with; with a layer path alone, MODEL as it is.",
            readable=False,
        ),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Also print the results of each task.")
    ] = False,
    n_gpu_layers: GpuLayers = None,
    tensor_split: TensorSplit = None,
    threads: Threads = None,
    rpc: Rpc = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate multiple-choice tasks by log-likelihood: accuracy and margin, with errors."""
    for path in (model, base):
        if path is not None:
            open_gguf(path)  # what cannot be read is told before the first run
    runs = _runs(model, base, optional_layer_path(window, times, drop, layers))
    devices = device_options(n_gpu_layers, tensor_split, threads, rpc)
    named: list[tuple[Path, Choices]] = []
    heard: deque[Answered] = deque(maxlen=1)
    tell = partial(_tell, named, tasks, json, details)
    try:
        with watched() as progress:
            for asked, paths in runs:
                with load(asked, devices) as loaded:
                    measured = loaded.choose(
                        tasks,
                        paths,
                        task_format=task_format.value,
                        limit=limit,
                        progress=progress,
                        on_result=heard.append,
                    )
                named += [(asked, choices) for choices in measured]
                heard.clear()
    except Interrupted:
        named += [(asked, choices) for answered in heard for choices in answered.choices()]
        tell()
        raise
    tell()


def _runs(model: Path, base: Path | None, path: AnyPath | None) -> list[tuple[Path, list[AnyPath]]]:
    """Models to ask, each with its layer paths."""
    if path is None:
        return [(asked, []) for asked in (model, base) if asked is not None]
    if base is None:
        return [(model, [path, _as_it_is(model)])]
    return [(model, [path]), (base, [_as_it_is(base)])]


def _tell(named: list[tuple[Path, Choices]], tasks: Path, as_json: bool, details: bool) -> None:
    if not named:
        print_note("interrupted before the first task finished")
        return
    from ggufsurgeon.multiple_choice.choices import change

    # A base that was interrupted has fewer tasks.
    pair = [one for _, one in named if one.n_tasks == named[0][1].n_tasks]
    difference = change(*pair) if len(pair) == 2 else None
    if as_json:
        print_json(_as_json(named, difference, details))
    else:
        _print(named, difference)
        if details:
            _print_details(named, tasks)


def _as_it_is(model: Path) -> LayerPath:
    return LayerPath.identity(find_blocks(open_gguf(model)).n_trunk)


def _as_json(
    named: list[tuple[Path, Choices]], difference: Change | None, details: bool
) -> dict[str, Any]:
    results = [
        {"model": str(path), **choices_as_json(measured, details=details)}
        for path, measured in named
    ]
    base = {"base": results[1]} if len(results) == 2 else {}
    changed = {"change": change_as_json(difference)} if difference is not None else {}
    return results[0] | base | changed


def _print(named: list[tuple[Path, Choices]], difference: Change | None) -> None:
    rows = [
        (
            str(path) if one.layer_path is None else f"{path}, {one.layer_path}",
            *_cells(one),
            f"{one.n_tasks} of {one.n_tasks_in_all}" if one.is_partial else str(one.n_tasks),
        )
        for path, one in named
    ]
    if difference is not None:
        rows.append(("paired difference", *_cells(difference), ""))
    columns = ["model", "accuracy", "normalised", "margin", "tasks"]
    title = "Choices by log-likelihood"
    if any(one.is_partial for _, one in named):
        title += " (partial)"
    print_table(title, columns, rows)
    print_devices([(str(path), one.devices) for path, one in named])


def _cells(of: Choices | Change) -> tuple[str, str, str]:
    return (
        _percent(of.accuracy),
        _percent(of.accuracy_normalised),
        _text(of.margin, 4),
    )


def _percent(of: Estimate) -> str:
    error = None if of.error is None else 100 * of.error
    return _text(type(of)(100 * of.value, error), 2)


def _text(of: Estimate, n_digits: int) -> str:
    error = "?" if of.error is None else f"{of.error:.{n_digits}f}"
    return f"{of.value:.{n_digits}f} +/- {error}"


def _print_details(named: list[tuple[Path, Choices]], tasks: Path) -> None:
    for path, one in named:
        title = str(path) if one.layer_path is None else f"{path}, {one.layer_path}"
        rows = [
            (
                found.id,
                str(found.answer),
                str(found.chosen),
                str(found.chosen_normalised),
                f"{found.margin:.4f}",
                " ".join(f"{value:.4f}" for value in found.log_likelihoods),
            )
            for found in one.answers
        ]
        columns = ["task", "correct", "chosen", "normalised", "margin", "log-likelihoods"]
        print_table(f"{tasks} by {title}", columns, rows)
