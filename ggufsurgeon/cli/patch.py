"""`ggufsurgeon patch`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.options import (
    LAYER_PATH,
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
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath


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
    from_scan: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
        typer.Option(
            "--from-scan",
            metavar="STORE",
            help="Store of a scan: its best layer path, unless the verdict on it is noise.",
            show_default=False,
            rich_help_panel=LAYER_PATH,
        ),
    ] = None,
    probe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--probe",
            metavar="NAME",
            help="Probe of that scan, such as text.",
            show_default="the only one",
            rich_help_panel=LAYER_PATH,
        ),
    ] = None,
    rank: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--rank",
            metavar="N",
            min=1,
            help="Rank of the path in that scan, whatever the verdict.",
            show_default=False,
            rich_help_panel=LAYER_PATH,
        ),
    ] = None,
    scale_weights: ScaleWeights = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the destination if it exists.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a GGUF with the blocks of a layer path, in order. MODEL is only read."""
    request = _request(source, (window, times, drop, layers), from_scan, probe, rank)
    planned = gs.open(source).plan(request, scale_weights=scale_weights)
    if from_scan is not None:
        from ggufsurgeon.writing.preflight import check_place

        check_place([from_scan], destination, replace=replace)
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


def _request(
    source: Path,
    options: tuple[list[str] | None, int | None, list[str] | None, str | None],
    store: Path | None,
    probe: str | None,
    rank: int | None,
) -> AnyPath:
    """The layer path that the options name, or that a scan has found."""
    if store is None:
        if probe is not None or rank is not None:
            raise UsageError("--probe and --rank require --from-scan")
        return layer_path(*options)
    if any(option is not None and option != [] for option in options):
        raise UsageError(
            "--from-scan gives the layer path: --window, --times, --drop and --layers exclude it"
        )
    from ggufsurgeon.api.scan_reports import scanned_path

    return scanned_path(store, source, probe=probe, rank=rank)


def _path(path: Path) -> str:
    """As an argument: one that begins with a dash would be taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)
