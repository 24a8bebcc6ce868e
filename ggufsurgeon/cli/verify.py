"""`ggufsurgeon verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ggufsurgeon import api
from ggufsurgeon.cli.devices import print_devices
from ggufsurgeon.cli.memory import split_advice
from ggufsurgeon.cli.options import (
    GpuLayers,
    Json,
    Rpc,
    TensorSplit,
    Threads,
    device_options,
)
from ggufsurgeon.cli.terminal import print_json, print_table, print_text, watched
from ggufsurgeon.errors import VerificationError

if TYPE_CHECKING:
    from ggufsurgeon.scoring.perplexity import Perplexity
    from ggufsurgeon.verification.model_run import ModelRun
    from ggufsurgeon.verification.verifier import Verification

N_CHUNKS = 8

MARKS = {True: "ok", False: "FAILED", None: "unproven"}


def verify(
    patched: Annotated[
        Path, typer.Argument(help="The file to prove.", show_default=False, readable=False)
    ],
    source: Annotated[
        Path, typer.Option("--source", help="The file it was made from.", readable=False)
    ],
    ctx: Annotated[
        int,
        typer.Option("--ctx", min=8, help="Tokens of a chunk of text, at most the model's own."),
    ] = 512,
    chunks: Annotated[
        int, typer.Option("--chunks", min=1, help="Chunks of text to measure perplexity on.")
    ] = N_CHUNKS,
    n_gpu_layers: GpuLayers = None,
    tensor_split: TensorSplit = None,
    threads: Threads = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Prove that a patched file is exactly what its layer path makes of the source, and runs."""
    from ggufsurgeon.scoring.perplexity import PerplexitySettings

    with watched() as progress:
        outcome = api.verify(
            patched,
            source,
            settings=PerplexitySettings(n_ctx=ctx, n_chunks=chunks),
            options=device_options(n_gpu_layers, tensor_split, threads, rpc),
            progress=progress,
        )
    if json:
        print_json(_as_json(outcome))
    else:
        _print(outcome)
    _raise_unless_proven(outcome)


def _as_json(outcome: Verification) -> dict[str, Any]:
    runs = outcome.runs
    return {
        "ok": outcome.ok,
        "patched": str(outcome.patched),
        "source": str(outcome.source),
        "layer_path": outcome.layer_path,
        "checks": [asdict(check) for check in outcome.checks],
        **{f"{name}_run": asdict(run) if run else None for name, run in _runs(outcome)},
        "equivalence": asdict(runs.equivalence) if runs.equivalence else None,
        "suggested_tensor_split": runs.suggested_split,
    }


def _print(outcome: Verification) -> None:
    print_table(
        f"{outcome.patched}: blocks {outcome.layer_path} of {outcome.source}",
        ["check", "", "detail"],
        [(check.name, MARKS[check.ok], check.detail) for check in outcome.checks],
    )
    runs = _runs(outcome)
    rows = [
        (name, str(run.n_blocks), _figure(run.perplexity), repr(run.generation.text))
        for name, run in runs
        if run and run.perplexity and run.generation
    ]
    if rows:
        print_table(
            "Shakespeare, as llama.cpp runs it",
            ["", "blocks", "perplexity", "greedily goes on"],
            rows,
        )
    print_devices([(name, run.devices) for name, run in runs if run])
    if outcome.runs.suggested_split is not None:
        print_text(f"note: {split_advice(outcome.runs.suggested_split)}\n")


def _runs(outcome: Verification) -> tuple[tuple[str, ModelRun | None], ...]:
    return ("source", outcome.runs.source), ("patched", outcome.runs.patched)


def _figure(quality: Perplexity) -> str:
    return f"{quality.perplexity:.4f} +/- {quality.perplexity_error:.4f}"


def _raise_unless_proven(outcome: Verification) -> None:
    failed = [check.name for check in outcome.checks if check.ok is False]
    if "source" in failed:
        raise VerificationError(
            f"{outcome.patched} was not made from {outcome.source}, so nothing is proven of it",
            hint="Name the file that it was made from as --source.",
        )
    if "source runs" in failed:
        raise VerificationError(
            f"{outcome.source} does not run in llama.cpp, so nothing is proven about running",
            hint="The structure holds: the file is what its layer path makes of the source.",
        )
    if failed:
        raise VerificationError(
            f"{outcome.patched} does not hold what it claims: {', '.join(failed)}",
            hint="Do not use it; patch again, from a source that is known to be whole.",
        )
    if outcome.missing is not None:
        raise outcome.missing
