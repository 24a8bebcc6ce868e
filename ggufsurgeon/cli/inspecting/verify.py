"""`ggufsurgeon verify`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.output.devices import print_devices
from ggufsurgeon.cli.output.memory import split_advice
from ggufsurgeon.cli.output.models import all_on_disk, on_disk
from ggufsurgeon.cli.output.serializers import (
    devices_as_json,
    embedding_as_json,
    equivalence_as_json,
    generation_as_json,
    perplexity_as_json,
)
from ggufsurgeon.cli.output.terminal import print_json, print_table, print_text, watched
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.mtp_options import MtpFrom
from ggufsurgeon.cli.shared_options.options import (
    Json,
    Patched,
    Quiet,
    With,
    other_models,
)
from ggufsurgeon.cli.shared_options.recipe_option import RecipeFile, by_name, told_how_to_name
from ggufsurgeon.errors import EngineError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.statistics.perplexity import Perplexity
    from ggufsurgeon.verification.model_runs.model_run import ModelRun
    from ggufsurgeon.verification.verifier import Verification

N_CHUNKS = 8

UNMEASURED = ("not measured: perplexity (--thorough)",)
MARKS = {True: "ok", False: "FAILED", None: "unproven"}


@with_device_options
def verify(
    patched: Patched,
    source: Annotated[
        Path,
        typer.Option(
            "--source", metavar="FILE", help="File that it was made from.", readable=False
        ),
    ],
    recipe: RecipeFile = None,
    with_: With = None,
    mtp_from: MtpFrom = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Measure the perplexity of both models too.")
    ] = False,
    ctx: Annotated[
        int,
        typer.Option(
            "--ctx",
            "-c",
            "--ctx-size",
            metavar="N",
            min=8,
            help="Context size of --thorough.",
        ),
    ] = 512,
    chunks: Annotated[
        int,
        typer.Option("--chunks", metavar="N", min=1, help="Number of chunks of --thorough."),
    ] = N_CHUNKS,
    *,
    devices: Devices,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prove that a patched file matches its source and layer path exactly, and that it runs."""
    if recipe is not None and mtp_from is not None:
        raise UsageError(
            "--recipe and --mtp-from exclude each other: a recipe names the file of its MTP blocks",
            hint="Give that file as --with NAME=FILE, by its name in the recipe.",
        )
    patched, source = on_disk(patched), on_disk(source)
    # Without llama.cpp, or where it dies, the file's structure is proven all the same.
    with gs.load(patched, devices) as loaded, suppress(MissingExtraError, EngineError):
        tell_devices(loaded, devices)
    others = other_models(with_)
    files, planned = all_on_disk(other.path for other in others), None
    with told_how_to_name(), watched() as progress:
        if recipe is not None:
            named = by_name(others, files)
            planned = gs.open(source).plan_recipe(recipe, progress, others=named)
            donor = planned.planned.donor
            files = [] if donor else [other.path for other in planned.planned.others]
            mtp_from = donor.path if donor else mtp_from
        outcome = gs.verify(
            patched,
            source,
            others=files,
            recipe=planned,
            mtp_from=mtp_from,
            settings=gs.TextSettings(n_ctx=ctx, n_chunks=chunks) if thorough else None,
            devices=devices,
            progress=progress,
        )
    if json:
        print_json(verification_as_json(outcome))
    else:
        print_verification(outcome, *UNMEASURED[thorough:])
    outcome.raise_if_failed()


def verification_as_json(outcome: Verification) -> dict[str, Any]:
    """A verification as JSON."""
    runs = outcome.runs
    return {
        "ok": outcome.ok,
        "proven": list(outcome.proven),
        "unproven": list(outcome.unproven),
        "patched": str(outcome.patched),
        "source": str(outcome.source),
        "other_sources": [str(other) for other in outcome.others],
        "layer_path": outcome.layer_path,
        "checks": [
            {"name": check.name, "ok": check.ok, "detail": check.detail} for check in outcome.checks
        ],
        **{f"{name}_run": _run_as_json(run) for name, run in _runs(outcome)},
        "equivalence": equivalence_as_json(runs.equivalence) if runs.equivalence else None,
        "aliased_equivalence": (
            equivalence_as_json(runs.aliased_equivalence) if runs.aliased_equivalence else None
        ),
        "suggested_tensor_split": runs.suggested_split,
    }


def _run_as_json(run: ModelRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "n_blocks": run.n_blocks,
        "no_text": run.no_text,
        "generation": generation_as_json(run.generation) if run.generation else None,
        "perplexity": perplexity_as_json(run.perplexity, details=True) if run.perplexity else None,
        "embedding": embedding_as_json(run.embedding) if run.embedding else None,
        "devices": devices_as_json(run.devices),
    }


def print_verification(outcome: Verification, *unmeasured: str) -> None:
    """The checks as a table, and what they prove; `unmeasured` says what was not looked at."""
    sources = [str(path) for path in (outcome.source, *outcome.others)]
    print_table(
        f"{outcome.patched}: blocks {outcome.layer_path} of {' and '.join(sources)}",
        ["check", "", "detail"],
        [(check.name, MARKS[check.ok], check.detail) for check in outcome.checks],
    )
    runs = _runs(outcome)
    rows = [
        (name, str(run.n_blocks), _figure(run.perplexity), repr(run.generation.text))
        for name, run in runs
        if run and run.generation
    ]
    if rows:
        print_table(
            "As llama.cpp runs them",
            ["", "blocks", "perplexity", "greedy continuation"],
            rows,
        )
    print_devices([(name, run.devices) for name, run in runs if run])
    if outcome.runs.suggested_split is not None:
        print_text(f"note: {split_advice(outcome.runs.suggested_split)}\n")
    _print_proven(outcome, unmeasured)


def _runs(outcome: Verification) -> tuple[tuple[str, ModelRun | None], ...]:
    return ("source", outcome.runs.source), ("patched", outcome.runs.patched)


def _figure(quality: Perplexity | None) -> str:
    if quality is None:
        return "-"
    return f"{quality.value:.4f} +/- {quality.error:.4f}"


def _print_proven(outcome: Verification, unmeasured: Sequence[str]) -> None:
    """One line that counts what holds, and names what does not or was not looked at."""
    failed = [check.name for check in outcome.checks if check.ok is False]
    parts = [f"proven: {', '.join(outcome.proven) or 'nothing'}"]
    parts += [f"failed: {', '.join(failed)}"] * bool(failed)
    parts += [f"unproven: {', '.join(outcome.unproven)}"] * bool(outcome.unproven)
    print_text("; ".join((*parts, *unmeasured)))
