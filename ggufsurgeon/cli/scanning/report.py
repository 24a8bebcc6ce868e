"""`ggufsurgeon report`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.api.reports.pictures import check_picture
from ggufsurgeon.cli.output.terminal import print_json, print_note
from ggufsurgeon.cli.shared_options.options import MEASURING, OUTPUT, Json, Quiet
from ggufsurgeon.container.quoting import printable
from ggufsurgeon.container.shell_words import shell_command
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from ggufsurgeon.scanning.search.findings import SearchFindings
    from ggufsurgeon.scanning.verdicts.findings import ScanFindings


def report(
    store: Annotated[
        Path,
        typer.Argument(metavar="STORE", help="Store of a scan.", show_default=False),
    ],
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out",
            min=0,
            max=1,
            help="Share of the items to hold out: they test the best path and do not rank paths.",
            rich_help_panel=MEASURING,
        ),
    ] = 0.5,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            "-s",
            min=0,
            help="Random seed of the held-out items and of the sign flips.",
            rich_help_panel=MEASURING,
        ),
    ] = 0,
    top: Annotated[
        int,
        typer.Option(
            "--top", metavar="N", min=1, help="Number of best paths.", rich_help_panel=OUTPUT
        ),
    ] = 10,
    html: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
        typer.Option(
            "--html",
            metavar="FILE",
            help="HTML page to write: maps of windows, ranking, ablation, and the items of each "
            "path. It needs no network.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    png: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--png",
            metavar="FILE",
            help="PNG, SVG or PDF picture of one probe to write; select it by --probe.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    probe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--probe",
            metavar="NAME",
            help="Probe to show, such as text.",
            show_default="all",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--model",
            metavar="NAME",
            help="File name of the model to show, if the store has several.",
            show_default="all",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    csv: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--csv",
            metavar="FILE",
            help="CSV file to write: a row for each item along each path.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    jsonl: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--jsonl",
            metavar="FILE",
            help="JSON Lines file to write, with the same rows.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Overwrite files that exist.", rich_help_panel=OUTPUT),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank the layer paths of the scans in a store, and test whether the best beats the model.

    The searches that started from these scans follow.
    """
    from ggufsurgeon.cli.scanning.scan_results import (
        as_csv,
        as_json_lines,
        findings_as_json,
        print_findings,
    )
    from ggufsurgeon.cli.scanning.search_results import print_search, search_as_json

    outputs = {"--html": html, "--png": png, "--csv": csv, "--jsonl": jsonl}
    _check_outputs(outputs, store, replace)
    searches = _Searches(store, probe)
    every = gs.scan_findings(store, held_out=held_out, seed=seed)
    found = _chosen(every, searches, store, model, probe)
    command = _command(store, held_out, seed, model, probe, html)
    contents: dict[Path | None, Callable[[], bytes]] = {
        csv: lambda: as_csv(found).encode(),
        jsonl: lambda: as_json_lines(found).encode(),
        html: lambda: _page(found, searches, command),
        png: lambda: _picture(found, png or Path()),
    }
    _write({path: make() for path, make in contents.items() if path is not None}, replace)
    if json:
        of_models = [
            {**findings_as_json(one), "searches": list(map(search_as_json, searches.of(one)))}
            for one in found
        ]
        print_json({"models": of_models})
        return
    for one in found:
        print_findings(one, top)
        for each in searches.of(one):
            print_search(each, one.model)


class _Searches:
    """The searches in a store, by the probe that is asked for."""

    def __init__(self, store: Path, probe: str | None) -> None:
        self._store, self._probe = store, probe
        self._known: dict[str, tuple[SearchFindings, ...]] = {}

    def of(self, model: ScanFindings) -> tuple[SearchFindings, ...]:
        """Those over a model."""
        from ggufsurgeon.api.reports.search_reports import search_findings

        sha256 = model.header_sha256
        if sha256 not in self._known:
            found = search_findings(self._store, header_sha256=sha256)
            wanted = tuple(one for one in found if self._probe in (None, one.probe))
            self._known[sha256] = wanted
        return self._known[sha256]


def _check_outputs(outputs: dict[str, Path | None], store: Path, replace: bool) -> None:
    """Refuse files to write that are the store, each other, or there already."""
    from ggufsurgeon.writing.placement.preflight import check_place

    sources = [store] if store.exists() else []
    places: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if place in places:
            raise UsageError(f"{path}: {places[place]} and {option} name the same file")
        places[place] = option
        if option == "--png":
            check_picture(path, replace=replace)
        check_place(sources, path, replace=replace)


def _write(contents: dict[Path, bytes], replace: bool) -> None:
    from ggufsurgeon.writing.new_file import write_bytes

    for path, content in contents.items():
        write_bytes(content, path, replace=replace)
        print_note(f"wrote {path}")


def _chosen(
    found: Sequence[ScanFindings],
    searches: _Searches,
    store: Path,
    model: str | None,
    probe: str | None,
) -> tuple[ScanFindings, ...]:
    """The models that have been scanned, with the probe that is asked for."""
    kept = []
    for one in found:
        probes = tuple(each for each in one.probes if probe in (None, each.probe))
        if model in (None, one.model) and (probes or searches.of(one)):
            kept.append(dataclasses.replace(one, probes=probes))
    if not kept:
        names = [printable(f"{one.model} by {p.probe}") for one in found for p in one.probes]
        wanted = "".join(
            f" {word} {name}" for word, name in (("of", model), ("by", probe)) if name is not None
        )
        known = f"It has scans of {', '.join(names)}." if names else "It has none."
        raise UsageError(f"{store}: it has no scan{wanted}", hint=known)
    return tuple(kept)


def _only(found: Sequence[ScanFindings], what: str) -> ScanFindings:
    if len(found) != 1:
        names = ", ".join(one.model for one in found)
        raise UsageError(f"{what} shows one model, and the store has {names}: name one by --model")
    return found[0]


def _command(
    store: Path,
    held_out: float,
    seed: int,
    model: str | None,
    probe: str | None,
    html: Path | None,
) -> str:
    """The command that makes a page again; options that have their defaults are left out."""
    options = {
        "--held-out": (held_out, 0.5),
        "--seed": (seed, 0),
        "--model": (model, None),
        "--probe": (probe, None),
        "--html": (html, None),
    }
    named = [(name, str(value)) for name, (value, default) in options.items() if value != default]
    parts = ["ggufsurgeon", "report", str(store), *(part for pair in named for part in pair)]
    return shell_command(*parts)


def _page(found: Sequence[ScanFindings], searches: _Searches, command: str) -> bytes:
    from ggufsurgeon.reporting.scan_page.page import scan_page

    one = _only(found, "a page")
    return scan_page(one, command, searches.of(one)).encode()


def _picture(found: Sequence[ScanFindings], path: Path) -> bytes:
    from ggufsurgeon.reporting.formats import check_picture as picture_format
    from ggufsurgeon.reporting.scan_picture.picture import scan_picture

    one = _only(found, "a picture")
    if len(one.probes) != 1:
        names = ", ".join(probe.probe for probe in one.probes) or "searches alone"
        raise UsageError(
            f"a picture shows one probe, and the store has {names}: name one by --probe"
        )
    return scan_picture(one, 0, picture_format(path))
