"""`ggufsurgeon recover`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.output.terminal import print_json, print_text
from ggufsurgeon.cli.shared_options.options import Json
from ggufsurgeon.container.shell_words import shell_command

TOLD = {
    "nothing": "no edit of {model} was interrupted: there is nothing to do",
    "undone": "{model} is as it was before the edit",
    "finished": "{model} is patched: the edit was finished; undo: {undo}",
}


def recover(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="GGUF file whose edit in place was interrupted.",
            show_default=False,
            readable=False,
        ),
    ],
    json: Json = False,
) -> None:
    """Undo or finish an interrupted patch in place, for example after a power cut."""
    try:
        outcome = gs.ModelFile.recover(model)
    except Interrupted as interrupt:
        interrupt.state = "The recovery is not finished. Run recover again."
        raise
    if json:
        print_json({"model": str(model), "outcome": outcome.value})
    else:
        undo = shell_command("ggufsurgeon", "restore", model, "DEST")
        print_text(TOLD[outcome.value].format(model=model, undo=undo))
