"""`ggufsurgeon patch`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.files.in_place import check_destination, patch_in_place
from ggufsurgeon.cli.files.interruption import telling_of
from ggufsurgeon.cli.files.plan import plan_as_json, print_plan
from ggufsurgeon.cli.files.split_size import SplitMaxSize, split_size
from ggufsurgeon.cli.files.written import print_shared, written_as_json
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
    layer_path,
)
from ggufsurgeon.cli.terminal import print_json, print_text, watched
from ggufsurgeon.container.shell_words import shell_command
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.progress import Progress


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
    recipe: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--recipe",
            metavar="FILE",
            help="File with a recipe, or - for standard input. MODEL must be the original that it "
            "names, and the result must have its SHA-256.",
            show_default=False,
            rich_help_panel=LAYER_PATH,
        ),
    ] = None,
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
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a GGUF with the blocks of a layer path, in order. MODEL is only read.

    With --in-place, there is no DEST and MODEL itself is edited.
    """
    max_n_bytes = split_size(split_max_size)
    _check_shards(max_n_bytes, replace, recipe)
    check_destination(destination, in_place, replace or max_n_bytes is not None)

    def planned_over(progress: Progress) -> gs.Plan:
        options = (window, times, drop, layers, strength, damped)
        if recipe is not None:
            _check_alone(*options, from_scan, probe, rank, scale_weights)
            return gs.open(source).plan_recipe(recipe, progress)
        request = _request(source, options, from_scan, probe, rank)
        return gs.open(source).plan(request, scale_weights=scale_weights)

    if destination is None:
        patch_in_place(planned_over, json=json)
        return
    _check_kept((from_scan, recipe), destination, replace)
    with telling_of(destination):
        with watched() as progress:
            planned = planned_over(progress)
            if max_n_bytes is None:
                planned.write(destination, replace=replace, progress=progress)
                written = planned.paths_at(destination)
            else:
                written = planned.write_shards(destination, max_n_bytes, progress=progress)
        _tell(planned, written, source, json=json)


def _tell(planned: gs.Plan, written: Sequence[Path], source: Path, *, json: bool) -> None:
    """Print what was written, and how to prove it."""
    if json:
        files = {"destination": str(written[0]), "files": list(map(str, written))}
        print_json({**files, **written_as_json(planned.written), **plan_as_json(planned.planned)})
        return
    print_plan(planned.planned)
    print_shared(planned.written, source)
    more = f" to {written[-1].name}" if len(written) > 1 else ""
    if planned.recipe is not None:
        proven = "their SHA-256 are those" if more else "its SHA-256 is that"
        print_text(f"wrote {written[0]}{more}: {proven} of the recipe")
    else:
        proof = shell_command("ggufsurgeon", "verify", written[0], "--source", source)
        print_text(f"wrote {written[0]}{more}; prove it: {proof}")
    if planned.planned.changes:
        card = shell_command("ggufsurgeon", "card", written[0])
        print_text(f"lines to run it in other programs, and a model card: {card}")


def _check_kept(read: tuple[Path | None, ...], destination: Path, replace: bool) -> None:
    """Refuse to write over a store or a recipe that is read."""
    from ggufsurgeon.writing.preflight import check_place

    for kept in read:
        if kept is not None and kept.exists():
            check_place([kept], destination, replace=replace)


def _check_shards(max_n_bytes: int | None, replace: bool, recipe: Path | None) -> None:
    """Raise UsageError for what shards exclude."""
    if max_n_bytes is None:
        return
    if recipe is not None:
        raise UsageError(
            "--recipe and --split-max-size exclude each other: the recipe defines the shards of "
            "its result"
        )
    if replace:
        raise UsageError(
            "--replace and --split-max-size exclude each other: several files cannot be replaced "
            "at one stroke",
            hint="Remove the old files first, or choose another destination.",
        )


def _check_alone(*options: object) -> None:
    """Raise UsageError where other options say what a recipe says."""
    if any(map(_is_given, options)):
        raise UsageError(
            "--recipe gives the layer path: --window, --times, --strength, --damped, --drop, "
            "--layers, --from-scan, --probe, --rank and --scale-weights exclude it"
        )


def _is_given(option: object) -> bool:
    return not (option is None or option is False or option == [])


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
        return layer_path(*options)
    if any(map(_is_given, options)):
        raise UsageError(
            "--from-scan gives the layer path: --window, --times, --strength, --damped, --drop and "
            "--layers exclude it"
        )
    from ggufsurgeon.api.scan_reports import scanned_path

    return scanned_path(store, source, probe=probe, rank=rank)
