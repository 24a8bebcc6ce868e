"""Options of `ggufsurgeon scan`: which layer paths, and by which probes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional, TypeAlias

import typer

from ggufsurgeon.cli.shared_options.options import LAYER_PATH, MEASURING, OUTPUT

PROBES = "Probes"
RACES = "Races"
"""Panels of the help."""

ScanStore: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--store",
        metavar="FILE",
        help="SQLite file for the scores, created if missing; scores in it are not run again.",
        show_default=False,
    ),
]
ScanText: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--text",
        "-f",
        "--file",
        metavar="FILE",
        help="Text file, or folder of .txt and .md files: the mean log-probability of each chunk.",
        rich_help_panel=PROBES,
        show_default=False,
    ),
]
ScanChunkSize: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--ctx",
        "-c",
        "--ctx-size",
        metavar="N",
        min=8,
        help="Number of tokens in a chunk of --text.",
        rich_help_panel=PROBES,
        show_default="512",
    ),
]
ScanChunks: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--chunks",
        metavar="N",
        min=1,
        help="Maximum number of chunks of --text.",
        rich_help_panel=PROBES,
        show_default="all",
    ),
]
ScanChoices: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--choices",
        metavar="FILE",
        help="JSONL file of multiple-choice tasks: the margin of the correct choice of each.",
        rich_help_panel=PROBES,
        show_default=False,
    ),
]
Arithmetic: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--arithmetic",
        metavar="N",
        min=2,
        max=10_000,
        help="Number of arithmetic problems: the log-probability of each result.",
        rich_help_panel=PROBES,
        show_default=False,
    ),
]
Answers: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--answers",
        metavar="N",
        min=2,
        max=10_000,
        help="Number of arithmetic problems to answer by generation: the share of right answers. "
        "Much slower than --arithmetic.",
        rich_help_panel=PROBES,
        show_default=False,
    ),
]
RysMath: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--rys-math",
        metavar="FILE",
        help="File in JSON, a list of objects with question and answer (an integer): the score of "
        "dnhkng/RYS for generated answers.",
        rich_help_panel=PROBES,
        show_default=False,
    ),
]
RysEq: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--rys-eq",
        metavar="FILE",
        help="File in JSON, a list of objects with prompt and reference (four numbers from 0 to "
        "10), or of EQ-Bench v2: the score of dnhkng/RYS for generated answers.",
        rich_help_panel=PROBES,
        show_default=False,
    ),
]
InstalledProbes: TypeAlias = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--probe",
        metavar="NAME=TEXT",
        help="Name of a probe of an installed package (an entry point of the group "
        "ggufsurgeon.probes), and the text to pass to it. May be given several times.",
        rich_help_panel=PROBES,
        show_default=False,
    ),
]
ProblemSeed: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--seed",
        "-s",
        metavar="N",
        min=0,
        help="Random seed of the problems of --arithmetic and --answers.",
        rich_help_panel=PROBES,
        show_default="0",
    ),
]
ScanWindows: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--windows",
        metavar="A..B:SIZES/STRIDE",
        help="Windows to scan: within blocks A to B, of these sizes, from every STRIDE-th block "
        "on, such as 10..25:4..8 or 0..29:1/2.",
        rich_help_panel=LAYER_PATH,
        show_default="all windows",
    ),
]
DropsWindows: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--drop",
        help="Drop each window, and each block, instead of repeating it.",
        rich_help_panel=LAYER_PATH,
    ),
]
ManyLayers: TypeAlias = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--layers",
        metavar="LAYERS",
        help='Layer path in full, such as "0..6,4..29". May be given several times; then no '
        "windows are scanned unless --windows or --drop is given.",
        rich_help_panel=LAYER_PATH,
        show_default=False,
    ),
]
OnlyWritable: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--writable",
        help="Drop layer paths that cannot be written to a file.",
        rich_help_panel=LAYER_PATH,
    ),
]
ScanJson: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print a JSON object, on a line of its own, for each group of items along each path.",
        rich_help_panel=OUTPUT,
    ),
]
WithHash: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--hash",
        help="Keep the SHA-256 of the whole model file in the store, and compare with it.",
        rich_help_panel=MEASURING,
    ),
]
Races: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--race",
        help="Drop the worse half of the paths after a few items, and again each time the items "
        "double (successive halving); held-out items test the winner.",
        rich_help_panel=RACES,
    ),
]
HeldOut: TypeAlias = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--held-out",
        metavar="SHARE",
        min=0,
        max=1,
        help="Share of the items to hold out of the race: they test its winner.",
        rich_help_panel=RACES,
        show_default="0.5",
    ),
]
RaceSeed: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--race-seed",
        metavar="N",
        min=0,
        help="Random seed of the held-out items, and of the order of the items in the race.",
        rich_help_panel=RACES,
        show_default="0",
    ),
]
