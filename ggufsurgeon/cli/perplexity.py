"""`ggufsurgeon perplexity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

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
    path_request,
)
from ggufsurgeon.cli.terminal import print_json, watched
from ggufsurgeon.container.gguf_file import open_gguf


def perplexity(
    model: Source,
    text: Annotated[
        Path, typer.Option("--text", help="A text file.", show_default=False, readable=False)
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
    n_gpu_layers: GpuLayers = None,
    tensor_split: TensorSplit = None,
    threads: Threads = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Measure the perplexity of a model on a text, by the algorithm of llama-perplexity.

    Along a layer path it is routed, without a file, and measured against the model as it is;
    with --base or --base-logits, against that.
    """
    from ggufsurgeon.measuring.against import Measured
    from ggufsurgeon.measuring.perplexity import PerplexitySettings

    settings = PerplexitySettings(n_ctx=ctx, n_chunks=chunks, n_batch=batch)
    options = device_options(n_gpu_layers, tensor_split, threads, rpc)
    for path in (model, base):
        if path is not None:
            check_context(open_gguf(path), ctx)
    asked = bool(window or drop or times is not None or layers is not None)
    with watched() as progress:
        if asked or base or base_logits or save_logits:
            measured = api.divergence(
                model,
                text,
                path_request(window, times, drop, layers) if asked else None,
                base=base,
                base_logits=base_logits,
                save_logits=save_logits,
                replace=replace,
                settings=settings,
                options=options,
                progress=progress,
            )
        else:
            alone = api.perplexity(
                model, text, settings=settings, options=options, progress=progress
            )
            measured = Measured(alone)
    if json:
        print_json(measured_as_json(measured))
    else:
        name = f"{model} along {measured.layer_path}" if asked else str(model)
        print_measured(measured, name, str(base or base_logits or model))
