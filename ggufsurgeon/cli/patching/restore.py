"""`ggufsurgeon restore`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.output.interruption import telling_of
from ggufsurgeon.cli.output.models import on_disk
from ggufsurgeon.cli.output.terminal import n_bytes_text, print_json, print_text, watched
from ggufsurgeon.cli.patching.written import print_shared, written_as_json
from ggufsurgeon.cli.shared_options.options import Json, Patched, Quiet
from ggufsurgeon.container.shards import paths_at

if TYPE_CHECKING:
    from ggufsurgeon.planning.originals.restoring import RestorePlan


def restore(
    patched: Patched,
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DEST",
            help="GGUF file to write; if the original was in shards, they are named "
            "DEST-00001-of-00002.gguf and so on.",
            show_default=False,
            readable=False,
        ),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the destination if it exists.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the original of a patched file, byte for byte, from the patched file alone."""
    patched = on_disk(patched)
    with telling_of(destination):
        with watched() as progress:
            planned = gs.open(patched).restore(destination, replace=replace, progress=progress)
        files = paths_at(destination, len(planned.file_plans))
        if json:
            written = {"destination": str(files[0]), "files": list(map(str, files))}
            print_json({**written, **_as_json(planned)})
        else:
            _print(planned, files)


def _as_json(planned: RestorePlan) -> dict[str, Any]:
    return {
        "patched": str(planned.patched.path),
        "undone": [str(path) for path in planned.undone],
        "is_original": not planned.remaining,
        "remaining": planned.remaining or None,
        "header_sha256": planned.restored.header_sha256,
        "n_bytes": {
            "before": planned.patched.n_bytes,
            "after": planned.n_bytes,
        },
        **written_as_json(planned.written),
    }


def _print(planned: RestorePlan, written: Sequence[Path]) -> None:
    undone = ", then ".join(str(path) for path in planned.undone)
    what, note = _what(planned)
    n_bytes = n_bytes_text(planned.n_bytes)
    first, *others = written
    files = f"{first} to {others[-1].name}" if others else f"{first}"
    print_text(f"wrote {files}: {what}, {n_bytes}; undone: layer path {undone}")
    print_shared(planned.written, [planned.patched.path])
    if planned.remaining:
        print_text(f"note: {note}: {planned.remaining}")


def _what(planned: RestorePlan) -> tuple[str, str]:
    """What the restored file is, and what the reason is of, where it is not the original."""
    from ggufsurgeon.planning.mtp_change.changing import NO_MTP
    from ggufsurgeon.planning.provenance import MTP, PREFIX

    mtp = planned.restored.header.get(f"{PREFIX}{MTP}")
    if not planned.remaining:
        return "the original", ""
    if mtp is None:
        note = "it is a patched file itself, and its own patch cannot be undone"
        return "the file as it was before this patch", note
    which = "without its MTP blocks" if mtp == NO_MTP else "with the MTP blocks of another file"
    return f"the original {which}", "the MTP blocks of the original cannot be restored"
