"""Options of `ggufsurgeon search`: how far it goes, and which items it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional, TypeAlias

import typer

from ggufsurgeon.cli.shared_options.options import LAYER_PATH, MEASURING

SearchStore: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--store",
        metavar="FILE",
        help="SQLite file of a scan by the same probe. It also stores the scores of the search; "
        "stored scores are not computed again.",
        show_default=False,
    ),
]
MaxBlocks: TypeAlias = Annotated[
    int,
    typer.Option(
        "--max-blocks",
        metavar="N",
        min=1,
        max=511,
        help="Maximum number of blocks that a path adds to the model.",
        rich_help_panel=LAYER_PATH,
    ),
]
Beam: TypeAlias = Annotated[
    int,
    typer.Option(
        "--beam",
        metavar="N",
        min=1,
        max=1000,
        help="Number of best paths to extend in each step. Twice as many windows of the scan are "
        "combined.",
        rich_help_panel=LAYER_PATH,
    ),
]
MaxPaths: TypeAlias = Annotated[
    int,
    typer.Option(
        "--max-paths",
        metavar="N",
        min=1,
        max=100_000,
        help="Maximum number of paths to run on the search items.",
        rich_help_panel=LAYER_PATH,
    ),
]
Strengths: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--strengths",
        metavar="S,...",
        help="Strengths of repeats to try in addition to full and damped repeats; 1 tries full "
        "repeats only.",
        show_default="0.5",
        rich_help_panel=LAYER_PATH,
    ),
]
SearchHeldOut: TypeAlias = Annotated[
    float,
    typer.Option(
        "--held-out",
        metavar="SHARE",
        min=0,
        max=1,
        help="Share of the items to hold out of the search, to test the best paths.",
        rich_help_panel=MEASURING,
    ),
]
SearchSeed: TypeAlias = Annotated[
    int,
    typer.Option(
        "--search-seed",
        metavar="N",
        min=0,
        help="Random seed of the held-out items.",
        rich_help_panel=MEASURING,
    ),
]


def strengths_of(text: str | None) -> tuple[float, ...]:
    """The strengths of --strengths. Raises UsageError for what is none."""
    from ggufsurgeon.layer_path.strengths import parse_strength

    if text is None:
        return (0.5,)
    return tuple(parse_strength(part.strip(), f"--strengths {text}") for part in text.split(","))
