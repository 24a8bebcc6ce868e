"""Options of `ggufsurgeon perplexity`: what to measure, against what, and what to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional, TypeAlias

import typer

from ggufsurgeon.cli.shared_options.options import MEASURING, OUTPUT

Text: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--text",
        "-f",
        "--file",
        metavar="FILE",
        help="Text file, folder of .txt and .md files, or - for standard input.",
        show_default=False,
        readable=False,
        allow_dash=True,
    ),
]
ChunkSize: TypeAlias = Annotated[
    int,
    typer.Option(
        "--ctx",
        "-c",
        "--ctx-size",
        metavar="N",
        min=8,
        help="Number of tokens in a chunk.",
        rich_help_panel=MEASURING,
    ),
]
Chunks: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--chunks",
        metavar="N",
        min=1,
        help="Maximum number of chunks to measure.",
        show_default="all",
        rich_help_panel=MEASURING,
    ),
]
Batch: TypeAlias = Annotated[
    int,
    typer.Option(
        "--batch",
        "-b",
        "--batch-size",
        metavar="N",
        min=1,
        help="Number of tokens decoded together.",
        rich_help_panel=MEASURING,
    ),
]
Stride: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--stride",
        "--ppl-stride",
        metavar="N",
        min=1,
        help="Strided evaluation, as llama-perplexity's --ppl-stride.",
        rich_help_panel=MEASURING,
    ),
]
Store: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--store",
        metavar="FILE",
        help="SQLite file that keeps scores; an interrupted run resumes from it.",
        rich_help_panel=OUTPUT,
    ),
]
Details: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--details",
        help="Add losses by chunk and by position; requires --json.",
        rich_help_panel=OUTPUT,
    ),
]
Base: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--base",
        metavar="FILE",
        help="Base model to compare MODEL with.",
        readable=False,
        rich_help_panel=MEASURING,
    ),
]
BaseLogits: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--base-logits",
        metavar="FILE",
        help="Logits of the base model, saved by --save-logits or by llama-perplexity.",
        readable=False,
        rich_help_panel=MEASURING,
    ),
]
BaseLayers: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--base-layers",
        metavar="LAYERS",
        help='Layer path of the base model, such as "0..6,4..29"; without --base, of MODEL.',
        rich_help_panel=MEASURING,
    ),
]
SaveLogits: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--save-logits",
        metavar="FILE",
        help="Save the logits of MODEL as llama-perplexity's --kl-divergence-base does.",
        readable=False,
        rich_help_panel=OUTPUT,
    ),
]
Plot: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--plot",
        metavar="FILE",
        help="Draw losses by position and chunk as a .png, .svg or .pdf.",
        readable=False,
        rich_help_panel=OUTPUT,
    ),
]
Replace: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Overwrite the files of --save-logits and --plot if they exist.",
        rich_help_panel=OUTPUT,
    ),
]
