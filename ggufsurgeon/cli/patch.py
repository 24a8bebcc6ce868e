"""`ggufsurgeon patch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ggufsurgeon import api
from ggufsurgeon.cli.options import Drops, Json, Layers, Source, Times, Windows, path_request
from ggufsurgeon.cli.plan import plan_as_json, print_plan
from ggufsurgeon.cli.terminal import print_json, watched


def patch(
    source: Source,
    destination: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)],
    window: Windows = None,
    times: Times = None,
    drop: Drops = None,
    layers: Layers = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the destination if it exists.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the GGUF in which the blocks of a layer path run, in order. SOURCE is only read."""
    request = path_request(window, times, drop, layers)
    with watched() as progress:
        planned = api.patch(source, destination, request, replace=replace, progress=progress)
    if json:
        print_json({"destination": str(destination), **plan_as_json(planned)})
    else:
        print_plan(planned)
        print(f"wrote {destination}; prove it: ggufsurgeon verify {destination} --source {source}")
