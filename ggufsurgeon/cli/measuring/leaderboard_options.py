"""Options of `ggufsurgeon leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional, TypeAlias

import typer

from ggufsurgeon.cli.shared_options.options import LAYER_PATH, MEASURING, OUTPUT

CHAT = "Chat models"

Benchmarks: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--tasks",
        metavar="NAME,...",
        help="Names of benchmarks: ifeval, bbh, math, gpqa, musr, mmlu-pro.",
        show_default="all six",
        rich_help_panel=MEASURING,
    ),
]
DocumentLimit: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--limit",
        metavar="N",
        min=1,
        help="Maximum number of documents of each subtask, from the first, as lm-eval's --limit.",
        show_default="all documents",
        rich_help_panel=MEASURING,
    ),
]
DataFolder: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="Folder with a mirror of the datasets: bbh, gpqa, ifeval, math, mmlu_pro, musr.",
        show_default="the Hugging Face Hub, or its cache",
        readable=False,
        rich_help_panel=MEASURING,
    ),
]
NamedPaths: TypeAlias = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--model",
        metavar="NAME=LAYERS",
        help="Layer path to compare, with a name for the table. May be given several times.",
        rich_help_panel=LAYER_PATH,
    ),
]
OtherBase: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--base",
        metavar="FILE",
        help="Base model to compare with.",
        show_default="MODEL as it is",
        readable=False,
        rich_help_panel=MEASURING,
    ),
]
AnswerContext: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--ctx",
        "--ctx-size",
        "-c",
        metavar="N",
        min=8,
        help="Context size in tokens, for a prompt and its answer; longer prompts lose their "
        "beginning.",
        show_default="the model's training context",
        rich_help_panel=MEASURING,
    ),
]
Parallel: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--parallel",
        "-np",
        metavar="N",
        min=1,
        max=256,
        help="Number of texts that are generated at once.",
        show_default="8",
        rich_help_panel=MEASURING,
    ),
]
UsesChatTemplate: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--chat-template",
        help="Make prompts by the model's chat template, with few-shot examples as turns.",
        rich_help_panel=CHAT,
    ),
]
TemplateVariables: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--chat-template-kwargs",
        metavar="JSON",
        help='Variables of the chat template, such as {"enable_thinking": false}.',
        rich_help_panel=CHAT,
    ),
]
ThinkingTokens: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--thinking-tokens",
        metavar="N",
        min=0,
        help="Number of tokens for thinking, which are added to the benchmark's limit for a text.",
        show_default="0",
        rich_help_panel=CHAT,
    ),
]
ThinkingEnd: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--thinking-end",
        metavar="TAG",
        help="Tag that ends the thinking; the text before it is not scored.",
        show_default="</think>",
        rich_help_panel=CHAT,
    ),
]
AnswerStore: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--store",
        metavar="FILE",
        help="SQLite file that keeps answers; an interrupted run resumes from it.",
        rich_help_panel=OUTPUT,
    ),
]
SubtaskDetails: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--details", help="Also print the scores of each subtask.", rich_help_panel=OUTPUT
    ),
]
