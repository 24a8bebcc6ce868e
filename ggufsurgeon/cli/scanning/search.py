"""`ggufsurgeon search`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ggufsurgeon as gs
from ggufsurgeon.cli.output.models import on_disk
from ggufsurgeon.cli.output.terminal import print_json, print_note, watched
from ggufsurgeon.cli.scanning.resuming import telling_how_to_resume
from ggufsurgeon.cli.scanning.scan_options import (
    Arithmetic,
    InstalledProbes,
    ProblemSeed,
    ScanChoices,
    ScanChunks,
    ScanChunkSize,
    ScanText,
)
from ggufsurgeon.cli.scanning.scan_probes import (
    DEFAULT_N_CTX,
    check_used,
    installed_probes,
    likelihood_probes,
)
from ggufsurgeon.cli.scanning.search_options import (
    Beam,
    MaxBlocks,
    MaxPaths,
    SearchHeldOut,
    SearchSeed,
    SearchStore,
    Strengths,
    strengths_of,
)
from ggufsurgeon.cli.scanning.workers import Scheduler, Workers, local_pool, share_of
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.options import Json, Quiet, Source, check_context
from ggufsurgeon.container.shell_words import shell_word
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.scanning.probes.answers import AnyProbe
    from ggufsurgeon.scanning.search.findings import SearchFindings
    from ggufsurgeon.scanning.search.search import SearchStep


@with_device_options
def search(
    model: Source,
    store: SearchStore,
    text: ScanText = None,
    ctx: ScanChunkSize = None,
    chunks: ScanChunks = None,
    choices: ScanChoices = None,
    arithmetic: Arithmetic = None,
    probe: InstalledProbes = None,
    seed: ProblemSeed = None,
    max_blocks: MaxBlocks = 8,
    beam: Beam = 8,
    max_paths: MaxPaths = 256,
    strengths: Strengths = None,
    held_out: SearchHeldOut = 0.5,
    search_seed: SearchSeed = 0,
    workers: Workers = None,
    scheduler: Scheduler = None,
    *,
    devices: Devices,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Combine the best windows of a scan into layer paths, and test the best paths.

    Give one probe of the scan, with the same options. The best path of each length is tested on
    held-out items, which the search does not use.
    """
    file = gs.open(model)
    check_used(text, ctx, chunks, seed, {"--arithmetic": arithmetic})
    n_ctx = DEFAULT_N_CTX if ctx is None else ctx
    if text is not None:
        check_context(file, n_ctx, is_limit=True)
    probes = likelihood_probes(text, n_ctx, chunks, choices, arithmetic, seed or 0)
    searching = partial(
        gs.LoadedModel.search,
        store=store,
        probe=_only([*probes, *installed_probes(probe or ())]),
        max_blocks=max_blocks,
        beam=beam,
        max_paths=max_paths,
        strengths=strengths_of(strengths),
        held_out=held_out,
        seed=search_seed,
    )
    devices = share_of(devices, workers)
    with telling_how_to_resume(store, "search"), local_pool(workers, scheduler) as executor:
        found = _found(searching, on_disk(model), devices, executor, scheduler)
    _show(found, file.path.name, store, json=json)


def _only(probes: Sequence[AnyProbe]) -> AnyProbe:
    if len(probes) != 1:
        raise UsageError(
            f"expected one of --text, --choices, --arithmetic and --probe, found {len(probes)}"
        )
    return probes[0]


def _found(
    searching: Callable[..., SearchFindings],
    model: Path,
    devices: Devices,
    executor: Executor | None,
    scheduler: str | None,
) -> SearchFindings:
    """What a search finds over a model, on this machine or on others."""
    with gs.load(model, devices) as loaded, watched() as progress:
        if scheduler is None:
            tell_devices(loaded, devices)
        return searching(
            loaded,
            executor=executor,
            scheduler=scheduler,
            on_worker=print_note,
            progress=progress,
            on_step=_print_step,
            on_wait=lambda process: print_note(f"waiting for {process}, which searches too"),
        )


def _show(found: SearchFindings, model: str, store: Path, *, json: bool) -> None:
    from ggufsurgeon.cli.scanning.search_results import print_search, search_as_json

    if json:
        print_json({"model": model, **search_as_json(found)})
        return
    print_search(found, model)
    print_note(f"ggufsurgeon report {shell_word(str(store))} shows it again")


def _print_step(step: SearchStep) -> None:
    of = "held-out items: the best path of each length" if step.is_held_out else "search items"
    paths = f"{step.n_paths} {'path' if step.n_paths == 1 else 'paths'}"
    passes = f"{step.n_passes} {'pass' if step.n_passes == 1 else 'passes'} of a group to run"
    print_note(f"step {step.number}, {of}: {paths}, {passes}")
