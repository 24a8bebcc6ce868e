"""`ggufsurgeon perplexity`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ggufsurgeon import api
from ggufsurgeon.cli.devices import print_devices
from ggufsurgeon.cli.interrupted import Interrupted
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
from ggufsurgeon.cli.terminal import print_json, print_note, print_table, watched
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
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
    """Measure the perplexity of a model on a text, by the algorithm of llama-perplexity."""
    from ggufsurgeon.measuring.perplexity import PerplexitySettings

    if store is not None and base is not None:
        raise UsageError("--store keeps one model's losses: measure the --base by itself")
    settings = PerplexitySettings(n_ctx=ctx, n_chunks=chunks, n_batch=batch, stride=stride)
    options = device_options(n_gpu_layers, tensor_split, threads, rpc)
    models = [path for path in (model, base) if path is not None]
    for path in models:
        check_context(open_gguf(path), ctx)
    content = _read(text)
    known: dict[int, Perplexity] = {}
    show = partial(_print_as_json, details=details) if json else _print
    try:
        with watched() as progress:
            for n, path in enumerate(models):
                known[n] = api.perplexity(
                    path,
                    content,
                    settings=settings,
                    options=options,
                    store=store,
                    progress=progress,
                    hear=partial(known.__setitem__, n),
                )
    except Interrupted:
        if known:
            show([(models[n], result) for n, result in known.items()])
        raise
    show([(models[n], result) for n, result in known.items()])


def _read(text: Path) -> bytes:
    from ggufsurgeon.measuring.texts import read_texts, text_files

    files = text_files(text)
    if files != [text]:
        print_note(f"{text}: {', '.join(file.name for file in files)}")
    return read_texts(files)


def _print_as_json(measured: list[tuple[Path, Perplexity]], details: bool) -> None:
    results = [_as_json(result, details) for _, result in measured]
    if len(results) == 1:
        print_json(results[0])
        return
    mine, base = results
    ratio = mine["perplexity"] / base["perplexity"]
    print_json({**mine, "base": base, "perplexity_ratio": ratio})


def _as_json(result: Perplexity, details: bool) -> dict[str, Any]:
    found = asdict(result)
    if not details:
        del found["chunk_losses"], found["position_losses"]
    return found | {"is_partial": result.is_partial}


def _print(measured: list[tuple[Path, Perplexity]]) -> None:
    reference = measured[-1][1].perplexity if len(measured) > 1 else None
    rows = [
        (
            str(path),
            f"{result.perplexity:.4f} +/- {result.perplexity_error:.5f}",
            f"{result.perplexity / reference:.4f}" if reference else "-",
            _chunks(result),
            str(result.n_scored),
            f"{result.tokens_per_second:.1f}",
        )
        for path, result in measured
    ]
    is_partial = any(result.is_partial for _, result in measured)
    columns = ["model", "perplexity", "ratio", "chunks", "scored tokens", "tokens/s"]
    print_table("Perplexity, broken off" if is_partial else "Perplexity", columns, rows)
    print_devices([(str(path), result.devices) for path, result in measured])


def _chunks(result: Perplexity) -> str:
    of_all = f" of {result.n_chunks_in_all}" if result.is_partial else ""
    return f"{result.n_chunks}{of_all} x {result.n_ctx}"
