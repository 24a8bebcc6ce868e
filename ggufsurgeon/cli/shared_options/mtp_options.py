"""Options of MTP blocks, which several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional, TypeAlias

import typer

from ggufsurgeon.cli.shared_options.options import LAYER_PATH
from ggufsurgeon.errors import UsageError

WithoutMtp: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--without-mtp",
        help="Drop the MTP (multi-token prediction) blocks, which engines use to draft tokens.",
        rich_help_panel=LAYER_PATH,
    ),
]
MtpFrom: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--mtp-from",
        metavar="FILE",
        help="GGUF file of the same model, in any quantization, to take the MTP blocks from.",
        show_default=False,
        readable=False,
        rich_help_panel=LAYER_PATH,
    ),
]


def check_mtp_options(
    others: Sequence[object], without_mtp: bool, mtp_from: Path | None, *, in_place: bool = False
) -> None:
    """Raise UsageError for options of MTP blocks that exclude each other, or others."""
    if without_mtp and mtp_from is not None:
        raise UsageError("--without-mtp and --mtp-from exclude each other")
    named = "--without-mtp" if without_mtp else "--mtp-from"
    if not without_mtp and mtp_from is None:
        return
    if others:
        raise UsageError(
            f"{named} requires a path over one model; with several, the MTP blocks are those of "
            f"the model of the output"
        )
    if in_place:
        raise UsageError(f"--in-place keeps the MTP blocks as they are: {named} excludes it")
