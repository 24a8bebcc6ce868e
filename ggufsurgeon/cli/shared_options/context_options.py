"""Options of the contexts of conversations, which `chat` and `serve` share."""

from __future__ import annotations

from typing import Annotated, Optional, TypeAlias

import typer

CONTEXT = "Context"
"""The panel of the help."""

ContextSize: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--ctx",
        "--ctx-size",
        "-c",
        metavar="N",
        min=8,
        max=2**31 - 1,
        help="Context size in tokens, rounded up to a multiple of 256.",
        show_default="4096, or the model's training context if smaller",
        rich_help_panel=CONTEXT,
    ),
]
ChatFormat: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--chat-format",
        metavar="NAME",
        help="Chat format of llama-cpp-python, such as chatml.",
        show_default="the chat template in the file",
        rich_help_panel=CONTEXT,
    ),
]
