"""`ggufsurgeon perplexity`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ggufsurgeon import api
from ggufsurgeon.cli.devices import print_devices
from ggufsurgeon.cli.options import (
    GpuLayers,
    Json,
    Rpc,
    Source,
    TensorSplit,
    Threads,
    check_context,
    device_options,
)
from ggufsurgeon.cli.terminal import print_json, print_table, watched
from ggufsurgeon.container.gguf_file import open_gguf

if TYPE_CHECKING:
    from ggufsurgeon.measuring.perplexity import Perplexity


def perplexity(
    model: Source,
    text: Annotated[
        Path, typer.Option("--text", help="A text file.", show_default=False, readable=False)
    ],
    base: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--base", help="A second model to measure on the same text.", readable=False),
    ] = None,
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
    """Measure the perplexity of a model on a text, by the algorithm of llama-perplexity."""
    from ggufsurgeon.measuring.perplexity import PerplexitySettings

    settings = PerplexitySettings(n_ctx=ctx, n_chunks=chunks, n_batch=batch)
    options = device_options(n_gpu_layers, tensor_split, threads, rpc)
    measured: list[tuple[Path, Perplexity]] = []
    for path in (model, base):
        if path is not None:
            check_context(open_gguf(path), ctx)
    with watched() as progress:
        for path in (model, base):
            if path is not None:
                result = api.perplexity(
                    path, text, settings=settings, options=options, progress=progress
                )
                measured.append((path, result))
    if json:
        _print_as_json([result for _, result in measured])
    else:
        _print(measured)


def _print_as_json(results: list[Perplexity]) -> None:
    if len(results) == 1:
        print_json(asdict(results[0]))
        return
    mine, base = results
    ratio = mine.perplexity / base.perplexity
    print_json({**asdict(mine), "base": asdict(base), "perplexity_ratio": ratio})


def _print(measured: list[tuple[Path, Perplexity]]) -> None:
    reference = measured[-1][1].perplexity if len(measured) > 1 else None
    rows = [
        (
            str(path),
            f"{result.perplexity:.4f} +/- {result.perplexity_error:.5f}",
            f"{result.perplexity / reference:.4f}" if reference else "-",
            f"{result.n_chunks} x {result.n_ctx}",
            str(result.n_scored),
            f"{result.tokens_per_second:.1f}",
        )
        for path, result in measured
    ]
    columns = ["model", "perplexity", "ratio", "chunks", "scored tokens", "tokens/s"]
    print_table("Perplexity", columns, rows)
    print_devices([(str(path), result.devices) for path, result in measured])
