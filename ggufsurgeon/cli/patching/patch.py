"""`ggufsurgeon patch`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.inspecting.verify import print_verification, verification_as_json
from ggufsurgeon.cli.output.interruption import telling_of
from ggufsurgeon.cli.output.models import as_argument, as_given
from ggufsurgeon.cli.output.terminal import print_json, print_text, watched
from ggufsurgeon.cli.patching.in_place import check_destination, patch_in_place
from ggufsurgeon.cli.patching.patch_models import PatchModels
from ggufsurgeon.cli.patching.patch_request import (
    PathRequest,
    RecipeRequest,
    check_result,
    patch_request,
)
from ggufsurgeon.cli.patching.plan_results import plan_as_json, print_plan
from ggufsurgeon.cli.patching.scan_choice import FromScan, ScanChoice, ScanProbe, ScanRank
from ggufsurgeon.cli.patching.split_size import SplitMaxSize, split_size
from ggufsurgeon.cli.patching.verified import check_devices, raise_if_failed, verified
from ggufsurgeon.cli.patching.written import print_shared, written_as_json
from ggufsurgeon.cli.shared_options.device_options import with_device_options
from ggufsurgeon.cli.shared_options.mtp_options import MtpFrom, WithoutMtp, check_mtp_options
from ggufsurgeon.cli.shared_options.options import (
    Damped,
    Drops,
    Json,
    Layers,
    NamedFile,
    Quiet,
    ScaleWeights,
    Source,
    Strength,
    Times,
    Windows,
    With,
    other_models,
)
from ggufsurgeon.cli.shared_options.recipe_option import RecipeFile
from ggufsurgeon.container.shell_words import shell_command
from ggufsurgeon.errors import UsageError
from ggufsurgeon.progress import Progress

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.verification.verifier import Verification


@with_device_options
def patch(
    source: Source,
    destination: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
        typer.Argument(
            metavar="DEST",
            help="GGUF file to write; omit it with --in-place.",
            show_default=False,
            readable=False,
        ),
    ] = None,
    window: Windows = None,
    times: Times = None,
    strength: Strength = None,
    damped: Damped = False,
    drop: Drops = None,
    layers: Layers = None,
    with_: With = None,
    from_scan: FromScan = None,
    probe: ScanProbe = None,
    rank: ScanRank = None,
    recipe: RecipeFile = None,
    without_mtp: WithoutMtp = False,
    mtp_from: MtpFrom = None,
    scale_weights: ScaleWeights = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the destination if it exists.")
    ] = False,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Edit MODEL itself: on ext4 and XFS only the header and the repeats are written; "
            "elsewhere a new file replaces it. restore writes the original; after a crash, run "
            "recover. Paths that leave out blocks or scale weights are refused.",
        ),
    ] = False,
    split_max_size: SplitMaxSize = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Prove the written file, as the command verify does. The options of devices "
            "apply to this proof only.",
        ),
    ] = False,
    *,
    devices: Devices,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a GGUF with the blocks of a layer path, in order. MODEL is only read.

    With --in-place, there is no DEST and MODEL itself is edited.
    """
    max_n_bytes, others = split_size(split_max_size), other_models(with_)
    _check_exclusions(others, max_n_bytes, replace=replace, in_place=in_place, verify=verify)
    check_devices(devices, verify=verify)
    check_mtp_options(others, without_mtp, mtp_from, in_place=in_place)
    check_destination(destination, in_place, replace or max_n_bytes is not None)

    def planned_over(progress: Progress) -> gs.Plan:
        request = patch_request(
            source,
            others,
            (window, times, drop, layers, strength, damped),
            recipe,
            ScanChoice(from_scan, probe, rank),
            scale_weights=scale_weights,
            without_mtp=without_mtp,
            mtp_from=mtp_from,
        )
        check_result(request, max_n_bytes, verify=verify)
        models = PatchModels.opened(source, others, mtp_from)
        return _planned_on_disk(request, models, destination, replace, progress)

    if destination is None:
        patch_in_place(planned_over, json=json)
        return
    _check_kept((from_scan, recipe), destination, replace)
    with telling_of(destination), watched() as progress:
        planned = planned_over(progress)
        written = _write(planned, destination, max_n_bytes, replace, progress)
    donor = planned.planned.donor
    further = (other.path for other in planned.planned.others if other is not donor)
    used = [source, *as_given(further, (each.path for each in others))]
    donor_path = None if donor is None else donor.path
    outcome = verified(used, donor_path, written[0], devices) if verify else None
    _tell(planned, written, used, donor_path, outcome, json=json)
    raise_if_failed(outcome)


def _planned_on_disk(
    request: PathRequest | RecipeRequest,
    models: PatchModels,
    destination: Path | None,
    replace: bool,
    progress: Progress,
) -> gs.Plan:
    """The plan over models on disk; what a layer path is refused for is told before a download."""
    if not models.are_on_disk:
        if isinstance(request, PathRequest):
            request.plan(models, progress)
        models = models.downloaded(destination, replace, progress)
    return request.plan(models, progress)


def _write(
    planned: gs.Plan,
    destination: Path,
    max_n_bytes: int | None,
    replace: bool,
    progress: Progress,
) -> tuple[Path, ...]:
    """Write the new file, or its shards; returns the files."""
    if max_n_bytes is not None:
        return planned.write_shards(destination, max_n_bytes, progress=progress)
    planned.write(destination, replace=replace, progress=progress)
    return planned.paths_at(destination)


def _tell(
    planned: gs.Plan,
    written: Sequence[Path],
    sources: Sequence[Path],
    mtp_from: Path | None,
    outcome: Verification | None,
    *,
    json: bool,
) -> None:
    """Print what was written, and the proof of it, or how to prove it."""
    if json:
        files = {"destination": str(written[0]), "files": list(map(str, written))}
        found: dict[str, Any] = {
            **files,
            **written_as_json(planned.written),
            **plan_as_json(planned.planned),
        }
        if outcome is not None:
            found["verification"] = verification_as_json(outcome)
        print_json(found)
        return
    print_plan(planned.planned)
    print_shared(planned.written, sources)
    more = f" to {written[-1].name}" if len(written) > 1 else ""
    if planned.recipe is not None:
        proven = "their SHA-256 are those" if more else "its SHA-256 is that"
        print_text(f"wrote {written[0]}{more}: {proven} of the recipe")
    elif outcome is not None:
        print_text(f"wrote {written[0]}{more}")
    else:
        proof = _proof(written[0], sources, mtp_from)
        print_text(f"wrote {written[0]}{more}; prove it: {proof}")
    if planned.planned.changes:
        card = shell_command("ggufsurgeon", "card", written[0])
        print_text(f"model card, and commands to run it in other programs: {card}")
    if outcome is not None:
        print_text("")
        print_verification(outcome)


def _proof(written: Path, sources: Sequence[Path], mtp_from: Path | None) -> str:
    """The command that proves a file that was written from these sources."""
    first, *others = map(as_argument, sources)
    further = [word for other in others for word in ("--with", other)]
    further += () if mtp_from is None else ("--mtp-from", as_argument(mtp_from))
    return shell_command("ggufsurgeon", "verify", written, "--source", first, *further)


def _check_kept(read: tuple[Path | None, ...], destination: Path, replace: bool) -> None:
    """Refuse to write over a store or a recipe that is read."""
    from ggufsurgeon.writing.placement.preflight import check_place

    for kept in read:
        if kept is not None and kept.exists():
            check_place([kept], destination, replace=replace)


def _check_exclusions(
    others: Sequence[NamedFile],
    max_n_bytes: int | None,
    *,
    replace: bool,
    in_place: bool,
    verify: bool,
) -> None:
    """Raise UsageError for options that exclude each other, whatever the layer path."""
    if max_n_bytes is not None and replace:
        raise UsageError(
            "--replace and --split-max-size exclude each other: several files cannot be replaced "
            "atomically",
            hint="Remove the old files first, or choose another destination.",
        )
    if others and in_place:
        raise UsageError("--in-place and --with exclude each other: a single model is edited")
    if verify and in_place:
        raise UsageError(
            "--verify and --in-place exclude each other: the proof needs MODEL as it was"
        )
