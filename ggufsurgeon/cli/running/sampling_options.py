"""Options of the sampling of the next token."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

SAMPLING = "Sampling"
"""The panel of the help."""

Temperature: TypeAlias = Annotated[
    float,
    typer.Option(
        "--temperature",
        "--temp",
        min=0,
        help="Sampling temperature (0: greedy).",
        rich_help_panel=SAMPLING,
    ),
]
TopK: TypeAlias = Annotated[
    int,
    typer.Option(
        "--top-k", min=1, help="Sample from the K most likely tokens.", rich_help_panel=SAMPLING
    ),
]
TopP: TypeAlias = Annotated[
    float,
    typer.Option(
        "--top-p", min=0, max=1, help="Nucleus (top-p) threshold.", rich_help_panel=SAMPLING
    ),
]
Seed: TypeAlias = Annotated[
    int,
    typer.Option(
        "--seed",
        "-s",
        min=0,
        max=2**32 - 2,
        help="Random seed of the sampling.",
        rich_help_panel=SAMPLING,
    ),
]
