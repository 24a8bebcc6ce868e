"""`ggufsurgeon perplexity`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ggufsurgeon import api
from ggufsurgeon.cli.options import (
    GpuLayers,
    Json,
    Source,
    TensorSplit,
    Threads,
    device_options,
)
from ggufsurgeon.cli.terminal import print_json, print_table, print_warning, watched
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from ggufsurgeon.verification.quality import Perplexity


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
    json: Json = False,
) -> None:
    """Measure the perplexity of a model on a text, by the algorithm of llama-perplexity."""
    from ggufsurgeon.verification.quality import PerplexitySettings

    settings = PerplexitySettings(n_ctx=ctx, n_chunks=chunks, n_batch=batch)
    options = device_options(n_gpu_layers, tensor_split, threads)
    measured: list[tuple[Path, Perplexity]] = []
    for path in (model, base):
        if path is not None:
            _check_context(open_gguf(path), ctx)
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


def _check_context(file: GgufFile, n_ctx: int) -> None:
    """Warn of contexts longer than the model's, and refuse them where positions are learned."""
    header = file.header
    longest = header.get(f"{header.architecture}.context_length")
    if not isinstance(longest, int) or n_ctx <= longest:
        return
    problem = f"{file.path} was made for contexts of {longest} tokens, --ctx is {n_ctx}"
    if any(tensor.name == "position_embd.weight" for tensor in header.tensors):
        raise UsageError(f"{problem}; it has no positions beyond")
    print_warning(problem)


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
