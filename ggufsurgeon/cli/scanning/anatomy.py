"""`ggufsurgeon anatomy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.anatomy.contents import DEFAULT_N_CONTENTS
from ggufsurgeon.cli.output.models import as_argument, on_disk
from ggufsurgeon.cli.output.terminal import print_json, print_note, watched
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.options import MEASURING, OUTPUT, Json, Quiet, Source
from ggufsurgeon.container.shell_words import shell_command

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices


@with_device_options
def anatomy(
    model: Source,
    store: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
        typer.Option(
            "--store",
            metavar="FILE",
            help="Store of a scan of this model: adds its maps, and compares the bands with its "
            "windows.",
            show_default=False,
            rich_help_panel=MEASURING,
        ),
    ] = None,
    pairs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--pairs",
            metavar="FILE",
            help="JSON Lines file of prompt pairs for activation patching, each with clean, "
            "corrupt, answer and other.",
            show_default="pairs of the package",
            rich_help_panel=MEASURING,
        ),
    ] = None,
    contents: Annotated[
        int,
        typer.Option(
            "--contents",
            metavar="N",
            min=4,
            max=24,
            help="Number of sentences, each of which is read in seven forms.",
            rich_help_panel=MEASURING,
        ),
    ] = DEFAULT_N_CONTENTS,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            "-s",
            min=0,
            help="Random seed for the sentences, the bootstraps and the significance tests.",
            rich_help_panel=MEASURING,
        ),
    ] = 0,
    html: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--html",
            metavar="FILE",
            help="HTML page to write: curves, maps of activation patching, and the maps of the "
            "scan. It needs no network.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Overwrite a file that exists.", rich_help_panel=OUTPUT),
    ] = False,
    *,
    devices: Devices,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what each block does: bands of similar contents, influence, logit lens, patching."""
    from ggufsurgeon.anatomy.pairs import read_pairs
    from ggufsurgeon.cli.scanning.anatomy_results import anatomy_as_json, print_anatomy
    from ggufsurgeon.writing.new_file import write_bytes
    from ggufsurgeon.writing.placement.preflight import check_place

    gs.open(model)
    read = None if pairs is None else read_pairs(pairs)
    if html is not None:
        sources = [each for each in (model, store, pairs) if each is not None and each.exists()]
        check_place(sources, html, replace=replace)
    with gs.load(on_disk(model), devices) as loaded:
        tell_devices(loaded, devices)
        with watched() as progress:
            found = loaded.anatomy(
                store=store, pairs=read, n_contents=contents, seed=seed, progress=progress
            )
    if html is not None:
        from ggufsurgeon.reporting.anatomy_page.page import anatomy_page

        command = _command(model, store, pairs, contents, seed, html)
        write_bytes(anatomy_page(found, command).encode(), html, replace=replace)
        print_note(f"wrote {html}")
    if json:
        print_json(anatomy_as_json(found))
    else:
        print_anatomy(found)


def _command(
    model: Path, store: Path | None, pairs: Path | None, contents: int, seed: int, html: Path
) -> str:
    """The command that writes the page; options with default values are left out."""
    options = {
        "--store": (store, None),
        "--pairs": (pairs, None),
        "--contents": (contents, DEFAULT_N_CONTENTS),
        "--seed": (seed, 0),
        "--html": (html, None),
    }
    named = ((name, value) for name, (value, default) in options.items() if value != default)
    words = (each if isinstance(each, Path) else str(each) for pair in named for each in pair)
    return shell_command("ggufsurgeon", "anatomy", as_argument(model), *words)
