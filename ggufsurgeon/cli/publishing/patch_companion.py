"""`ggufsurgeon patch-companion`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.output.models import on_disk
from ggufsurgeon.cli.output.terminal import (
    n_bytes_text,
    print_json,
    print_note,
    print_text,
    watched,
)
from ggufsurgeon.cli.shared_options.options import (
    LAYER_PATH,
    Drops,
    Json,
    Layers,
    Quiet,
    Times,
    Windows,
    layer_path,
    optional_layer_path,
)
from ggufsurgeon.errors import OtherBaseError, SeveralNumbersError, UsageError
from ggufsurgeon.locating.model_name import shown_name

if TYPE_CHECKING:
    from ggufsurgeon.api.model_files.companions import Companion


def patch_companion(
    companion: Annotated[
        Path,
        typer.Argument(
            metavar="COMPANION",
            help="GGUF file of a LoRA adapter, an imatrix, control vectors or a draft.",
            show_default=False,
            readable=False,
        ),
    ],
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DEST", help="GGUF file to write.", show_default=False, readable=False
        ),
    ],
    source: Annotated[
        Path,
        typer.Option(
            "--source",
            metavar="MODEL",
            help="Model that the companion was made for: GGUF file, or any of its shards. For a "
            "file of several models, one of them.",
            show_default=False,
            readable=False,
        ),
    ],
    window: Windows = None,
    times: Times = None,
    drop: Drops = None,
    layers: Layers = None,
    patched: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
        typer.Option(
            "--patched",
            metavar="FILE",
            help="Patched GGUF file, made from MODEL, whose record has the layer path.",
            show_default=False,
            readable=False,
            rich_help_panel=LAYER_PATH,
        ),
    ] = None,
    number: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--source-number",
            metavar="N",
            min=0,
            help="Number of MODEL in the layer path of FILE, where several models of FILE have the "
            "header and the weights of MODEL.",
            show_default=False,
            rich_help_panel=LAYER_PATH,
        ),
    ] = None,
    other_base: Annotated[
        bool,
        typer.Option(
            "--other-base",
            help="Also accept an adapter or a draft whose metadata name another base model.",
        ),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the destination if it exists.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a LoRA adapter, imatrix, control vectors or draft of a model for its patched model.

    With the patched model, llama.cpp applies the original to the wrong blocks, without an error.
    """
    options = (window, times, drop, layers)
    if patched is not None and optional_layer_path(*options) is not None:
        raise UsageError(
            "--patched gives the layer path: --window, --times, --drop and --layers exclude it"
        )
    if number is not None and patched is None:
        raise UsageError("--source-number requires --patched, a file of several models")
    path = None if patched is not None else layer_path(*options, further=("--patched",))
    companion = on_disk(companion)
    try:
        with watched() as progress:
            model = gs.open(source)
            planned = model.plan_companion(
                companion, path, patched=patched, number=number, other_base=other_base
            )
            planned.write(destination, replace=replace, progress=progress)
    except OtherBaseError as error:
        error.hint = "If it was made for this model all the same: --other-base."
        raise
    except SeveralNumbersError as error:
        error.hint = "Give the number of MODEL in the layer path: --source-number N."
        raise
    except Interrupted as interrupt:
        interrupt.state = "The destination is unchanged."
        raise
    if json:
        print_json(_as_json(planned, source, destination))
        return
    plan = planned.planned
    for note in planned.notes:
        print_note(f"note: {note}")
    n_bytes = n_bytes_text(planned.n_bytes)
    print_text(f"wrote {destination}: {plan.kind.value} for layer path {plan.path}, {n_bytes}")


def _as_json(planned: Companion, source: Path, destination: Path) -> dict[str, Any]:
    plan = planned.planned
    return {
        "destination": str(destination),
        "companion": str(plan.companion.path),
        "kind": plan.kind.name.lower(),
        "source": shown_name(source),
        "layer_path": str(plan.path),
        "n_tensors": {"before": len(plan.companion.header.tensors), "after": plan.n_tensors},
        "n_bytes": {"before": plan.companion.n_bytes, "after": planned.n_bytes},
        "notes": list(planned.notes),
    }
