"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Optional, TypeAlias

import typer

from ggufsurgeon.cli.output import terminal
from ggufsurgeon.cli.output.terminal import print_warning
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath, drop, repeat
from ggufsurgeon.layer_path.notations import DEFAULT_TIMES
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.layer_path.strengths import FULL

if TYPE_CHECKING:
    from ggufsurgeon.api.model_files.files import ModelFile

LAYER_PATH, MEASURING, DEVICES, OUTPUT = "Layer path", "Measuring", "Devices", "Output"
"""The panels of the help."""

Source: TypeAlias = Annotated[
    Path,
    # Whether it can be read is for the reader to say, in its own words.
    typer.Argument(
        metavar="MODEL",
        help="GGUF file to read, any of its shards, or a name: hf://ORG/REPO/FILE.gguf, "
        "ollama://MODEL:TAG, lmstudio://..., llama.cpp://...",
        show_default=False,
        readable=False,
    ),
]
Patched: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="PATCHED", help="Patched GGUF file.", show_default=False, readable=False
    ),
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=OUTPUT)
]


def _silence(quiet: bool) -> bool:
    if quiet:
        terminal.be_quiet()
    return quiet


Quiet: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Show no progress and no notes on standard error. Errors, and notes that are part of "
        "the result, are still shown.",
        callback=_silence,
        rich_help_panel=OUTPUT,
    ),
]

Windows: TypeAlias = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--window",
        metavar="I:J",
        help="Repeat blocks I to J-1. May be given several times: each window is inserted after "
        "the last occurrence of block J-1.",
        rich_help_panel=LAYER_PATH,
    ),
]
Times: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--times",
        metavar="K",
        help="Total number of times that each window runs.",
        show_default=str(DEFAULT_TIMES),
        rich_help_panel=LAYER_PATH,
    ),
]
Drops: TypeAlias = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--drop",
        metavar="I:J",
        help="Drop blocks I to J-1. May be given several times.",
        rich_help_panel=LAYER_PATH,
    ),
]
Strength: TypeAlias = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--strength",
        metavar="S",
        help="Multiply what the repeats of windows add to the residual stream by S, 0 or greater.",
        show_default="1",
        rich_help_panel=LAYER_PATH,
    ),
]
Damped: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--damped",
        help="Run every pass of a window with the strength 1/K, the first pass too; K is --times.",
        rich_help_panel=LAYER_PATH,
    ),
]
Layers: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--layers",
        metavar="LAYERS",
        help="Layer path in full, as inclusive ranges, which may have a strength or factors of "
        'weights: "0..6,4..6*0.5,7..29", "0..6,4..6*attn_q=0.84*attn_k=0.84,7..29".',
        rich_help_panel=LAYER_PATH,
    ),
]
With: TypeAlias = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--with",
        metavar="[NAME=]FILE",
        help='GGUF file whose blocks are 1:0, 1:1 and so on in LAYERS, as in "0..6,1:4..11"; '
        "those of the next one are 2:0 and so on. NAME is the name of the model in a recipe; in "
        "LAYERS, models have numbers only. May be given several times.",
        show_default=False,
        rich_help_panel=LAYER_PATH,
    ),
]
ScaleWeights: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--scale-weights",
        help="Multiply weights by a factor where the path is impossible otherwise. The "
        "result is equal within rounding, not to the bit, and cannot be restored.",
        rich_help_panel=LAYER_PATH,
    ),
]
GpuLayers: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--n-gpu-layers",
        "--gpu-layers",
        "-ngl",
        metavar="N",
        min=-1,
        help="Number of layers to offload to GPUs, counting the output layer (-1: all).",
        rich_help_panel=DEVICES,
    ),
]
TensorSplit: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--tensor-split",
        "-ts",
        metavar="A,B",
        help="Shares of the layers for each GPU, such as 3,1.",
        rich_help_panel=DEVICES,
    ),
]
Threads: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--threads",
        "-t",
        metavar="N",
        min=1,
        max=512,
        help="Number of CPU threads.",
        show_default="one for each physical core, within the CPU quota",
        rich_help_panel=DEVICES,
    ),
]

Rpc: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--rpc",
        metavar="HOST:PORT,...",
        help="RPC servers of llama.cpp, whose devices are used as GPUs.",
        rich_help_panel=DEVICES,
    ),
]

PathOptions: TypeAlias = tuple[
    Optional[list[str]], Optional[int], Optional[list[str]], Optional[str], Optional[float], bool  # noqa: UP045
]
"""The options of a layer path: windows, times, drops, layers, strength, damped."""


def layer_path(
    windows: list[str] | None,
    times: int | None,
    drops: list[str] | None,
    layers: str | None,
    strength: float | None = None,
    damped: bool = False,
    *,
    further: Sequence[str] = (),
) -> AnyPath:
    """The layer path that the options ask for. Raises UsageError unless they name exactly one.

    `further` are other options of the command that give a path, for the message.
    """
    asked = [bool(windows), bool(drops), layers is not None]
    if sum(asked) != 1:
        found = "none is given" if not any(asked) else "they exclude each other"
        *first, last = "--window", "--drop", "--layers", *further
        raise UsageError(
            f"expected one of {', '.join(first)} and {last}: {found}",
            hint="--window I:J repeats blocks, --drop I:J drops them, "
            '--layers "0..6,4..29" is the path in full.',
        )
    for name, is_given in {
        "--times": times is not None,
        "--strength": strength is not None,
        "--damped": damped,
    }.items():
        if is_given and not windows:
            raise UsageError(f"{name} requires --window")
    if damped and strength is not None:
        raise UsageError("--strength and --damped exclude each other")
    if layers is not None:
        return LayerPath(layers)
    if drops:
        return drop(*drops)
    return repeat(
        *windows or (),
        times=DEFAULT_TIMES if times is None else times,
        strength=FULL if strength is None else strength,
        damped=damped,
    )


class NamedFile(NamedTuple):
    """A further model."""

    name: str
    """Empty where none is given."""
    path: Path


def other_models(texts: Sequence[str] | None) -> list[NamedFile]:
    """The files that --with gives. What names a file as a whole has no NAME. Raises UsageError."""
    found: list[NamedFile] = []
    for text in texts or ():
        name, equals, path = text.partition("=")
        has_name = bool(equals) and not os.path.lexists(text)
        if has_name and not (name and path):
            raise UsageError(f"--with {text}: expected a file, or NAME=FILE")
        if has_name and any(other.name == name for other in found):
            raise UsageError(f"--with {text}: the name {name} is given twice")
        found.append(NamedFile(name, Path(path)) if has_name else NamedFile("", Path(text)))
    return found


def optional_layer_path(
    windows: list[str] | None,
    times: int | None,
    drops: list[str] | None,
    layers: str | None,
    strength: float | None = None,
    damped: bool = False,
) -> AnyPath | None:
    """The layer path that the options ask for; None when there are none of them."""
    is_named = windows or drops or layers is not None
    if not is_named and times is None and strength is None and not damped:
        return None
    return layer_path(windows, times, drops, layers, strength, damped)


def check_context(
    model: ModelFile, n_ctx: int, option: str = "--ctx", *, is_limit: bool = False
) -> None:
    """Warn of contexts longer than the model's, and refuse them where positions are learned.

    They are refused always with `is_limit`.
    """
    header = model.file.header
    longest = header.get(f"{header.architecture}.context_length")
    if not isinstance(longest, int) or n_ctx <= longest:
        return
    problem = f"{option} of {n_ctx} tokens: {model.path} was trained on {longest} tokens"
    if any(tensor.name == "position_embd.weight" for tensor in header.tensors):
        raise UsageError(f"{problem} and has no positions beyond that")
    if is_limit:
        raise UsageError(problem)
    print_warning(f"{problem}; text beyond that may be poor")
