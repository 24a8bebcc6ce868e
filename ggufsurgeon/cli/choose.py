"""`ggufsurgeon choose`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ggufsurgeon import api
from ggufsurgeon.choosing.tasks import TaskFormat
from ggufsurgeon.cli.devices import print_devices
from ggufsurgeon.cli.options import (
    Drops,
    GpuLayers,
    Json,
    Layers,
    Rpc,
    Source,
    TensorSplit,
    Threads,
    Times,
    Windows,
    device_options,
    optional_path_request,
)
from ggufsurgeon.cli.terminal import print_json, print_table, watched
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.blocks import find_blocks

if TYPE_CHECKING:
    from ggufsurgeon.choosing.choices import Change, Choices
    from ggufsurgeon.choosing.figures import Figure


def choose(
    model: Source,
    tasks: Annotated[
        Path, typer.Option("--tasks", help="A file of tasks.", show_default=False, readable=False)
    ],
    task_format: Annotated[
        TaskFormat,
        typer.Option("--format", help="Of the tasks: JSON lines, or a format of llama-perplexity."),
    ] = TaskFormat.JSONL,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="At most so many tasks, those that llama-perplexity's --hellaswag-tasks and its "
            "like draw (all).",
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
            help="A model to compare with. With a layer path and no base: the model as it is.",
            readable=False,
        ),
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Tell of every task too.")] = False,
    n_gpu_layers: GpuLayers = None,
    tensor_split: TensorSplit = None,
    threads: Threads = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Ask a model which of several answers is likeliest: accuracy and margin, with errors."""
    from ggufsurgeon.choosing.choices import change

    path = optional_path_request(window, times, drop, layers)
    paths = [path] if path else []
    with watched() as progress:
        ask = partial(
            api.choose,
            tasks=tasks,
            task_format=task_format.value,
            limit=limit,
            options=device_options(n_gpu_layers, tensor_split, threads, rpc),
            progress=progress,
        )
        if base is None and path:
            measured = ask(model, paths=[*paths, _as_it_is(model)])
        else:
            if base is not None:
                open_gguf(base)  # what cannot be read is told before the first run
            measured = ask(model, paths=paths)
        if base is not None:
            measured += ask(base, paths=[_as_it_is(base)] if path else [])
    named = list(zip([model, base or model], measured, strict=False))
    difference = change(*measured) if len(measured) == 2 else None
    if json:
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
    told = [{"model": str(path), **asdict(measured)} for path, measured in named]
    for one in told:
        if not details:
            del one["answers"]
    if difference is None:
        return told[0]
    return {**told[0], "base": told[1], "change": asdict(difference)}


def _print(named: list[tuple[Path, Choices]], difference: Change | None) -> None:
    rows = [
        (
            str(path) if one.layer_path is None else f"{path}, {one.layer_path}",
            *_cells(one),
            str(one.n_tasks),
        )
        for path, one in named
    ]
    if difference is not None:
        rows.append(("change, in pairs", *_cells(difference), ""))
    columns = ["model", "accuracy", "normalised", "margin", "tasks"]
    print_table("Choices by log-likelihood", columns, rows)
    print_devices([(str(path), one.devices) for path, one in named])


def _cells(of: Choices | Change) -> tuple[str, str, str]:
    return (
        _percent(of.accuracy),
        _percent(of.accuracy_normalised),
        _text(of.margin, 4),
    )


def _percent(figure: Figure) -> str:
    error = None if figure.error is None else 100 * figure.error
    return _text(type(figure)(100 * figure.mean, error), 2)


def _text(figure: Figure, n_digits: int) -> str:
    error = "?" if figure.error is None else f"{figure.error:.{n_digits}f}"
    return f"{figure.mean:.{n_digits}f} +/- {error}"


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
        columns = ["task", "right", "chosen", "normalised", "margin", "log-likelihoods"]
        print_table(f"{tasks} by {title}", columns, rows)
