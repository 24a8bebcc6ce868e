"""The options of patch that take the layer path that a scan has found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple, Optional, TypeAlias

import typer

from ggufsurgeon.cli.shared_options.options import LAYER_PATH
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath

FromScan: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--from-scan",
        metavar="STORE",
        help="Store of a scan, whose best layer path is used unless the verdict is noise.",
        show_default=False,
        rich_help_panel=LAYER_PATH,
    ),
]
ScanProbe: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--probe",
        metavar="NAME",
        help="Probe of that scan, such as text.",
        show_default="the only one",
        rich_help_panel=LAYER_PATH,
    ),
]
ScanRank: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--rank",
        metavar="N",
        min=1,
        help="Rank in that scan of the path to use, whatever the verdict.",
        show_default=False,
        rich_help_panel=LAYER_PATH,
    ),
]


class ScanChoice(NamedTuple):
    """The path of a scan that the options choose."""

    store: Path | None = None
    probe: str | None = None
    rank: int | None = None

    def path_over(self, source: Path) -> AnyPath | None:
        """The layer path; None without the options. Raises as `scanned_path`."""
        if self.store is None:
            if self.probe is not None or self.rank is not None:
                raise UsageError("--probe and --rank require --from-scan")
            return None
        from ggufsurgeon.api.reports.scan_reports import scanned_path

        return scanned_path(self.store, source, probe=self.probe, rank=self.rank)
