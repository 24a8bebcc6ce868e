"""`ggufsurgeon perplexity`."""

from __future__ import annotations

from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ggufsurgeon import api
from ggufsurgeon.cli.divergence import (
    Base,
    BaseLogits,
    Replace,
    SaveLogits,
    measured_as_json,
    print_measured,
)
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.options import (
    Drops,
    GpuLayers,
    Json,
    Layers,
    Rpc,
    Source,
    TensorSplit,
    Threads,
    Times,
    Windows,
    check_context,
    device_options,
    optional_path_request,
)
from ggufsurgeon.cli.terminal import print_json, print_note, watched
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from ggufsurgeon.measuring.against import Measured
    from ggufsurgeon.measuring.perplexity import Perplexity


def perplexity(
    model: Source,
    text: Annotated[
        Path,
        typer.Option(
            "--text",
            help="A text file, a folder of .txt and .md files, or - for standard input.",
            show_default=False,
            readable=False,
            allow_dash=True,
        ),
    ],
    window: Windows = None,
    times: Times = None,
    drop: Drops = None,
    layers: Layers = None,
    base: Base = None,
    base_logits: BaseLogits = None,
    save_logits: SaveLogits = None,
    replace: Replace = False,
    ctx: Annotated[int, typer.Option("--ctx", min=8, help="Tokens of a chunk.")] = 512,
    chunks: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--chunks", min=1, help="At most so many chunks (all)."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Tokens decoded at once.")] = 2048,
    stride: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--stride", metavar="N", min=1, help="Overlapping chunks, N tokens apart and scored."
        ),
    ] = None,
    store: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--store", help="Keep what is known in this file, and go on with it."),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="With --json: losses by chunk and by position too.")
    ] = False,
    n_gpu_layers: GpuLayers = None,
    tensor_split: TensorSplit = None,
    threads: Threads = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Measure the perplexity of a model on a text, by the algorithm of llama-perplexity.

    Along a layer path it is routed, without a file, and measured against the model as it is; with
    --base or --base-logits, against that.
    """
    from ggufsurgeon.measuring.perplexity import PerplexitySettings

    layer_path = optional_path_request(window, times, drop, layers)
    compares = bool(layer_path or base or base_logits or save_logits)
    if store is not None and compares:
        raise UsageError("--store keeps the losses of one model as it is, by itself")
    settings = PerplexitySettings(n_ctx=ctx, n_chunks=chunks, n_batch=batch, stride=stride)
    options = device_options(n_gpu_layers, tensor_split, threads, rpc)
    for path in (model, base):
        if path is not None:
            check_context(open_gguf(path), ctx)
    show = partial(_show, model, str(base or base_logits or model), json, details)
    _note_files(text)
    if compares:
        with watched() as progress:
            measured = api.divergence(
                model,
                text,
                layer_path,
                base=base,
                base_logits=base_logits,
                save_logits=save_logits,
                replace=replace,
                settings=settings,
                options=options,
                progress=progress,
            )
        show(measured)
        return
    known: deque[Perplexity] = deque(maxlen=1)
    try:
        with watched() as progress:
            result = api.perplexity(
                model,
                text,
                settings=settings,
                options=options,
                store=store,
                progress=progress,
                hear=known.append,
            )
    except Interrupted:
        for so_far in known:
            show(_alone(so_far))
        raise
    show(_alone(result))


def _note_files(text: Path) -> None:
    from ggufsurgeon.measuring.texts import text_files

    files = text_files(text)
    if files != [text]:
        print_note(f"{text}: {', '.join(file.name for file in files)}")


def _alone(result: Perplexity) -> Measured:
    from ggufsurgeon.measuring.against import Measured

    return Measured(result)


def _show(model: Path, base: str, as_json: bool, details: bool, measured: Measured) -> None:
    if as_json:
        print_json(measured_as_json(measured, details))
        return
    name = f"{model} along {measured.layer_path}" if measured.layer_path else str(model)
    print_measured(measured, name, base)
