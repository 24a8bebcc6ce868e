"""The option that asks for shards of a size."""

from __future__ import annotations

import re
from typing import Annotated, Optional, TypeAlias

import typer

from ggufsurgeon.errors import UsageError

SplitMaxSize: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--split-max-size",
        metavar="N(M|G)",
        help="Maximum size of a file, such as 40G: a larger model is written in shards, "
        "DEST-00001-of-00002.gguf and so on.",
        show_default=False,
    ),
]
SIZE = re.compile(r"(\d{1,9})([MG])", re.ASCII)
UNITS = {"M": 10**6, "G": 10**9}


def split_size(size: str | None) -> int | None:
    """The bytes of a size in llama-gguf-split's syntax (tools/gguf-split/gguf-split.cpp)."""
    if size is None:
        return None
    match = SIZE.fullmatch(size)
    n_bytes = int(match[1]) * UNITS[match[2]] if match else 0
    if not n_bytes:
        raise UsageError(
            f"--split-max-size {size!r}: expected a number of megabytes or gigabytes, such as 500M "
            "or 40G"
        )
    return n_bytes
