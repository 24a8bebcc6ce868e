"""`ggufsurgeon scan`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import ggufsurgeon as gs
from ggufsurgeon.cli.output.models import on_disk
from ggufsurgeon.cli.output.terminal import SCHEMA, print_json_line, print_note, watched
from ggufsurgeon.cli.scanning.resuming import telling_how_to_resume
from ggufsurgeon.cli.scanning.scan_options import (
    Answers,
    Arithmetic,
    DropsWindows,
    HeldOut,
    InstalledProbes,
    ManyLayers,
    OnlyWritable,
    ProblemSeed,
    Races,
    RaceSeed,
    RysEq,
    RysMath,
    ScanChoices,
    ScanChunks,
    ScanChunkSize,
    ScanJson,
    ScanStore,
    ScanText,
    ScanWindows,
    WithHash,
)
from ggufsurgeon.cli.scanning.scan_probes import (
    DEFAULT_N_CTX,
    answer_probes,
    check_used,
    installed_probes,
    likelihood_probes,
)
from ggufsurgeon.cli.scanning.workers import Scheduler, Workers, local_pool, share_of
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.options import (
    Damped,
    Quiet,
    Source,
    Strength,
    Times,
    check_context,
)
from ggufsurgeon.container.shell_words import shell_word
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ggufsurgeon.api.loaded_models.loaded_model import LoadedModel
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.layer_path.path import LayerPath
    from ggufsurgeon.scanning.jobs.job import Scored
    from ggufsurgeon.scanning.probes.answers import AnyProbe
    from ggufsurgeon.scanning.racing.race import Race
    from ggufsurgeon.scanning.scan import ScanSize

PROBE_OPTIONS = "--text, --choices, --arithmetic, --answers, --rys-math, --rys-eq or --probe"


@with_device_options
def scan(
    model: Source,
    store: ScanStore,
    text: ScanText = None,
    ctx: ScanChunkSize = None,
    chunks: ScanChunks = None,
    choices: ScanChoices = None,
    arithmetic: Arithmetic = None,
    answers: Answers = None,
    rys_math: RysMath = None,
    rys_eq: RysEq = None,
    probe: InstalledProbes = None,
    seed: ProblemSeed = None,
    windows: ScanWindows = None,
    times: Times = None,
    strength: Strength = None,
    damped: Damped = False,
    drop: DropsWindows = False,
    layers: ManyLayers = None,
    writable: OnlyWritable = False,
    race: Races = False,
    held_out: HeldOut = None,
    race_seed: RaceSeed = None,
    hash: WithHash = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    *,
    devices: Devices,
    json: ScanJson = False,
    quiet: Quiet = False,
) -> None:
    """Score every window of a model by probes, from one load, without writing a model file.

    The scores go to a store, item by item; `report` says what they are worth.
    """
    file = gs.open(model)
    check_used(text, ctx, chunks, seed, {"--arithmetic": arithmetic, "--answers": answers})
    n_ctx = DEFAULT_N_CTX if ctx is None else ctx
    if text is not None:
        check_context(file, n_ctx, is_limit=True)
    probes: list[AnyProbe] = [
        *likelihood_probes(text, n_ctx, chunks, choices, arithmetic, seed or 0),
        *answer_probes(answers, seed or 0, rys_math, rys_eq),
        *installed_probes(probe or ()),
    ]
    if not probes:
        raise UsageError(f"expected a probe: {PROBE_OPTIONS}")
    paths = _paths(file.n_blocks, windows, times, strength, damped, drop, layers)
    raced = _race(race, held_out, race_seed)
    devices = share_of(devices, workers)
    with (
        telling_how_to_resume(store, "scan"),
        local_pool(workers, scheduler) as executor,
        gs.load(on_disk(model), devices) as loaded,
    ):
        if scheduler is None:
            tell_devices(loaded, devices)
        where = executor, scheduler
        for one in probes:
            with_hash = hash and one is probes[0]
            _scan(loaded, store, one, paths, writable, raced, with_hash, where, json)
    print_note(f"ggufsurgeon report {shell_word(str(store))} shows what the scan found")


def _paths(
    n_blocks: int,
    windows: Optional[str],  # noqa: UP045
    times: int | None,
    strength: float | None,
    damped: bool,
    drop: bool,
    layers: list[str] | None,
) -> list[LayerPath]:
    """The layer paths that the options ask for."""
    from ggufsurgeon.layer_path.notations import DEFAULT_TIMES
    from ggufsurgeon.layer_path.strengths import FULL
    from ggufsurgeon.scanning.windows import WindowRange, drops, parse_window_range, repeats

    of_repeats = {"--times": times, "--strength": strength, "--damped": damped or None}
    given = [name for name, value in of_repeats.items() if value is not None]
    if drop and given:
        raise UsageError(f"{given[0]} applies to repeated windows: --drop excludes it")
    if damped and strength is not None:
        raise UsageError("--strength and --damped exclude each other")
    named = [gs.LayerPath(path) for path in layers or ()]
    if named and windows is None and not drop:
        if given:
            raise UsageError(f"{given[0]} applies to windows: with --layers, it requires --windows")
        return named
    within = WindowRange() if windows is None else parse_window_range(windows)
    if drop:
        made = drops(n_blocks, within)
    else:
        made = repeats(
            n_blocks,
            within,
            DEFAULT_TIMES if times is None else times,
            FULL if strength is None else strength,
            damped=damped,
        )
    return [*(one.path for one in made), *named]


def _race(is_asked: bool, held_out: float | None, seed: int | None) -> Race | None:
    """The race that the options ask for."""
    from ggufsurgeon.scanning.racing.race import Race

    if not is_asked:
        for name, value in {"--held-out": held_out, "--race-seed": seed}.items():
            if value is not None:
                raise UsageError(f"{name} requires --race")
        return None
    share = Race.held_out if held_out is None else held_out
    return Race(share, Race.seed if seed is None else seed)


def _scan(
    loaded: LoadedModel,
    store: Path,
    probe: AnyProbe,
    paths: list[LayerPath],
    writable: bool,
    race: Race | None,
    with_hash: bool,
    where: tuple[Executor | None, str | None],
    json: bool,
) -> None:
    executor, scheduler = where

    def show(scored: Scored) -> None:
        print_json_line(_as_json(probe.name, scored))

    with watched() as progress:
        loaded.scan(
            store,
            probe,
            paths,
            only_writable=writable,
            race=race,
            with_hash=with_hash,
            executor=executor,
            scheduler=scheduler,
            on_worker=print_note,
            progress=progress,
            on_size=_size_printer(probe.name),
            on_result=show if json else None,
            on_wait=_wait_printer(probe.name),
        )


def _counted(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _size_printer(name: str) -> Callable[[ScanSize], None]:
    """What prints, before the work, how much of it there is."""

    def show(size: ScanSize) -> None:
        print_note(
            f"{name}: {_counted(size.n_items, 'item')} in {_counted(size.n_groups, 'group')} along "
            f"{_counted(size.n_paths, 'layer path')} and the unmodified model: "
            f"{_counted(size.n_passes, 'pass', 'passes')} of a group"
            + (f", {size.n_known} known" if size.n_known else "")
        )
        if size.n_others:
            print_note(
                f"{name}: the store has {_counted(size.n_others, 'other scan')} by this probe, "
                "with other items, settings or machine; reports number them"
            )
        if size.constant_score is not None:
            print_note(f"{name}: a constant answer would score {size.constant_score:.2f}")
        if size.n_item_passes < size.n_item_passes_of_all:
            print_note(
                f"{name}: a race has {size.n_item_passes} passes of an item, where the whole scan "
                f"has {size.n_item_passes_of_all}"
            )
        if size.has_base:
            print_note(f"{name}: the path of the unmodified model is not ranked among the others")
        for left, problem in (
            (size.refused, "cannot be run exactly (left out)"),
            (size.not_writable, "cannot be written to a file"),
        ):
            if left.n_paths:
                print_note(f"{name}: {_counted(left.n_paths, 'path')} {problem}: {left.reason}")

    return show


def _wait_printer(name: str) -> Callable[[str], None]:
    """What prints which other process is waited for."""

    def show(process: str) -> None:
        print_note(f"{name}: waiting for {process}, which scans the paths that are left")

    return show


def _as_json(probe: str, scored: Scored) -> dict[str, object]:
    """The scores of a group of items along a path, as a line of JSON."""
    return {
        "schema": SCHEMA,
        "probe": probe,
        "layer_path": str(scored.path),
        "first_item": scored.items.start,
        "scores": _without_nan(scored.scores),
        **({"parsed": _without_nan(scored.parsed)} if scored.parsed else {}),
        "seconds": round(scored.seconds, 4),
    }


def _without_nan(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]
