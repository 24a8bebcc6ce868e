"""`ggufsurgeon restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.files.written import print_shared, written_as_json
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.options import Json, Patched, Quiet
from ggufsurgeon.cli.terminal import n_bytes_text, print_json, print_text, printable, watched

if TYPE_CHECKING:
    from ggufsurgeon.planning.restoring import RestorePlan


def restore(
    patched: Patched,
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DEST", help="GGUF file to write.", show_default=False, readable=False
        ),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the destination if it exists.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the original of a patched file, byte for byte, from the patched file alone."""
    try:
        with watched() as progress:
            planned = gs.open(patched).restore(destination, replace=replace, progress=progress)
    except Interrupted as interrupt:
        interrupt.state = "The destination is unchanged."
        raise
    if json:
        print_json({"destination": str(destination), **_as_json(planned)})
    else:
        _print(planned, destination)


def _as_json(planned: RestorePlan) -> dict[str, Any]:
    return {
        "patched": str(planned.patched.path),
        "undone": [str(path) for path in planned.undone],
        "is_original": not planned.remaining,
        "remaining": planned.remaining or None,
        "header_sha256": planned.restored.header_sha256,
        "n_bytes": {
            "before": planned.patched.layout.n_bytes,
            "after": planned.write_plan.n_bytes,
        },
        **written_as_json(planned.written),
    }


def _print(planned: RestorePlan, destination: Path) -> None:
    undone = ", then ".join(str(path) for path in planned.undone)
    what = "the original" if not planned.remaining else "the file as it was before this patch"
    n_bytes = n_bytes_text(planned.write_plan.n_bytes)
    print_text(printable(f"wrote {destination}: {what}, {n_bytes}; undone: layer path {undone}"))
    print_shared(planned.written, planned.patched.path)
    if planned.remaining:
        note = "it is a patched file itself, and its own patch cannot be undone"
        print_text(printable(f"note: {note}: {planned.remaining}"))
