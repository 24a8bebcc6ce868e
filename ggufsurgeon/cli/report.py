"""`ggufsurgeon report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.options import MEASURING, OUTPUT, Json, Quiet
from ggufsurgeon.cli.scan_results import as_csv, as_json_lines, findings_as_json, print_findings
from ggufsurgeon.cli.terminal import print_json, print_note
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from ggufsurgeon.scanning.findings import ScanFindings


def report(
    store: Annotated[
        Path,
        typer.Argument(metavar="STORE", help="Store of a scan.", show_default=False),
    ],
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out",
            min=0,
            max=1,
            help="Share of the items that judge the best path and do not choose it.",
            rich_help_panel=MEASURING,
        ),
    ] = 0.5,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            "-s",
            min=0,
            help="Random seed of that choice and of the null.",
            rich_help_panel=MEASURING,
        ),
    ] = 0,
    top: Annotated[
        int,
        typer.Option(
            "--top", metavar="N", min=1, help="Number of best paths.", rich_help_panel=OUTPUT
        ),
    ] = 10,
    csv: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
        typer.Option(
            "--csv",
            metavar="FILE",
            help="CSV file to write: a row for each item along each path.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    jsonl: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--jsonl",
            metavar="FILE",
            help="JSON Lines file to write, with the same rows.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Overwrite files that exist.", rich_help_panel=OUTPUT),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what the scans in a store found: ranks, how far luck reaches, and a verdict."""
    found = gs.scan_findings(store, held_out=held_out, seed=seed)
    if not any(probes.probes for probes in found):
        raise UsageError(f"{store}: it has no scan")
    _write(found, csv, jsonl, replace)
    if json:
        print_json({"models": [findings_as_json(one) for one in found]})
        return
    for one in found:
        print_findings(one, top)


def _write(
    found: Sequence[ScanFindings], csv: Path | None, jsonl: Path | None, replace: bool
) -> None:
    from ggufsurgeon.writing.new_file import write_bytes

    for path, text in ((csv, as_csv), (jsonl, as_json_lines)):
        if path is not None:
            write_bytes(text(found).encode(), path, replace=replace)
            print_note(f"wrote {path}")
