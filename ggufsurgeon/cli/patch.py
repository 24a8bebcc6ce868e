"""`ggufsurgeon patch`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.options import (
    Drops,
    Json,
    Layers,
    Quiet,
    ScaleWeights,
    Source,
    Times,
    Windows,
    layer_path,
)
from ggufsurgeon.cli.plan import plan_as_json, print_plan
from ggufsurgeon.cli.terminal import print_json, print_text, printable, watched


def patch(
    source: Source,
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DEST", help="GGUF file to write.", show_default=False, readable=False
        ),
    ],
    window: Windows = None,
    times: Times = None,
    drop: Drops = None,
    layers: Layers = None,
    scale_weights: ScaleWeights = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the destination if it exists.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a GGUF with the blocks of a layer path, in order. MODEL is only read."""
    request = layer_path(window, times, drop, layers)
    planned = gs.open(source).plan(request, scale_weights=scale_weights)
    try:
        with watched() as progress:
            planned.write(destination, replace=replace, progress=progress)
    except Interrupted as interrupt:
        interrupt.state = "The destination is unchanged."
        raise
    if json:
        print_json({"destination": str(destination), **plan_as_json(planned.planned)})
    else:
        print_plan(planned.planned)
        proof = ["ggufsurgeon", "verify", _path(destination), "--source", _path(source)]
        print_text(printable(f"wrote {destination}; prove it: {shlex.join(proof)}"))


def _path(path: Path) -> str:
    """As an argument: one that begins with a dash would be taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)
