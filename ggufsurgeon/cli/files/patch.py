"""`ggufsurgeon patch`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.device_options import with_device_options
from ggufsurgeon.cli.files.in_place import check_destination, patch_in_place
from ggufsurgeon.cli.files.interruption import telling_of
from ggufsurgeon.cli.files.patch_models import PatchModels
from ggufsurgeon.cli.files.plan import plan_as_json, print_plan
from ggufsurgeon.cli.files.split_size import SplitMaxSize, split_size
from ggufsurgeon.cli.files.verified import (
    check_can_be_verified,
    check_devices,
    raise_if_failed,
    verified,
)
from ggufsurgeon.cli.files.verify import print_verification, verification_as_json
from ggufsurgeon.cli.files.written import print_shared, written_as_json
from ggufsurgeon.cli.models import as_argument, as_given
from ggufsurgeon.cli.mtp_options import MtpFrom, WithoutMtp, check_mtp_options
from ggufsurgeon.cli.options import (
    LAYER_PATH,
    Damped,
    Drops,
    Json,
    Layers,
    PathOptions,
    Quiet,
    ScaleWeights,
    Source,
    Strength,
    Times,
    Windows,
    With,
    layer_path,
    other_models,
)
from ggufsurgeon.cli.recipe_option import (
    RecipeFile,
    check_alone,
    is_given,
)
from ggufsurgeon.cli.terminal import print_json, print_text, watched
from ggufsurgeon.container.shell_words import shell_command
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
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
    from_scan: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--from-scan",
            metavar="STORE",
            help="Store of a scan, whose best layer path is used unless the verdict is noise.",
            show_default=False,
            rich_help_panel=LAYER_PATH,
        ),
    ] = None,
    probe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--probe",
            metavar="NAME",
            help="Probe of that scan, such as text.",
            show_default="the only one",
            rich_help_panel=LAYER_PATH,
        ),
    ] = None,
    rank: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--rank",
            metavar="N",
            min=1,
            help="Rank in that scan of the path to use, whatever the verdict.",
            show_default=False,
            rich_help_panel=LAYER_PATH,
        ),
    ] = None,
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
            help="Prove the written file, as the command verify does. The options of devices are "
            "for this alone.",
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
    max_n_bytes = split_size(split_max_size)
    _check_shards(max_n_bytes, replace)
    others = other_models(with_)
    if others and in_place:
        raise UsageError("--in-place edits a single model: --with excludes it")
    if verify and in_place:
        raise UsageError("--verify compares with MODEL, which --in-place replaces")
    check_devices(devices, verify=verify)
    check_mtp_options(others, without_mtp, mtp_from, in_place=in_place)
    check_destination(destination, in_place, replace or max_n_bytes is not None)

    def planned_over(progress: Progress) -> gs.Plan:
        options = (window, times, drop, layers, strength, damped)
        models = PatchModels.opened(source, others, mtp_from)
        where = destination, replace, progress
        if recipe is not None:
            check_alone(*options, without_mtp, mtp_from, from_scan, probe, rank, scale_weights)
            planned = models.downloaded(*where).plan_recipe(recipe, progress)
            _check_shards_of(planned, max_n_bytes)
            if verify:
                check_can_be_verified(planned)
            return planned
        request = _request(source, options, from_scan, probe, rank)
        plan = models.plan(request, scale_weights=scale_weights, without_mtp=without_mtp)
        if models.are_on_disk:
            return plan  # what is refused is refused before a download
        models = models.downloaded(*where)
        return models.plan(request, scale_weights=scale_weights, without_mtp=without_mtp)

    if destination is None:
        patch_in_place(planned_over, json=json)
        return
    _check_kept((from_scan, recipe), destination, replace)
    with telling_of(destination), watched() as progress:
        planned = planned_over(progress)
        if max_n_bytes is None:
            planned.write(destination, replace=replace, progress=progress)
            written = planned.paths_at(destination)
        else:
            written = planned.write_shards(destination, max_n_bytes, progress=progress)
    further = planned.planned.others if mtp_from is None else ()
    used = [source, *as_given((other.path for other in further), (each.path for each in others))]
    outcome = verified(used, mtp_from, written[0], devices) if verify else None
    has_card = mtp_from is None and not without_mtp
    _tell(planned, written, used, mtp_from, outcome, has_card=has_card, json=json)
    raise_if_failed(outcome)


def _tell(
    planned: gs.Plan,
    written: Sequence[Path],
    sources: Sequence[Path],
    mtp_from: Path | None,
    outcome: Verification | None,
    *,
    has_card: bool,
    json: bool,
) -> None:
    """Print what was written, and the proof of it, or how to prove it.

    `has_card` says whether a card can be made: of a file whose MTP blocks are those of its source.
    """
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
        first, *others = map(as_argument, sources)
        further = [word for other in others for word in ("--with", other)]
        further += () if mtp_from is None else ("--mtp-from", as_argument(mtp_from))
        command = shell_command("ggufsurgeon", "verify", written[0], "--source", first, *further)
        print_text(f"wrote {written[0]}{more}; prove it: {command}")
    if planned.planned.changes and has_card:
        card = shell_command("ggufsurgeon", "card", written[0])
        print_text(f"model card, and commands to run it in other programs: {card}")
    if outcome is not None:
        print_text("")
        print_verification(outcome)


def _check_kept(read: tuple[Path | None, ...], destination: Path, replace: bool) -> None:
    """Refuse to write over a store or a recipe that is read."""
    from ggufsurgeon.writing.preflight import check_place

    for kept in read:
        if kept is not None and kept.exists():
            check_place([kept], destination, replace=replace)


def _check_shards(max_n_bytes: int | None, replace: bool) -> None:
    """Raise UsageError for what shards exclude."""
    if max_n_bytes is not None and replace:
        raise UsageError(
            "--replace and --split-max-size exclude each other: several files cannot be replaced "
            "atomically",
            hint="Remove the old files first, or choose another destination.",
        )


def _check_shards_of(planned: gs.Plan, max_n_bytes: int | None) -> None:
    """Raise UsageError where a recipe defines the shards, and an option others."""
    if max_n_bytes is not None and planned.recipe is not None:
        raise UsageError(
            "--recipe and --split-max-size exclude each other: this recipe defines the shards "
            "of its result"
        )


def _request(
    source: Path,
    options: PathOptions,
    store: Path | None,
    probe: str | None,
    rank: int | None,
) -> AnyPath:
    """The layer path that the options name, or that a scan has found."""
    if store is None:
        if probe is not None or rank is not None:
            raise UsageError("--probe and --rank require --from-scan")
        return layer_path(*options, further=("--recipe", "--from-scan"))
    if any(map(is_given, options)):
        raise UsageError(
            "--from-scan gives the layer path: --window, --times, --strength, --damped, --drop and "
            "--layers exclude it"
        )
    from ggufsurgeon.api.scan_reports import scanned_path

    return scanned_path(store, source, probe=probe, rank=rank)
