"""A scan: all layer paths by one probe, in a worker, kept in a store as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import GgufSurgeonError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.scanning.costs import PathCosts
from ggufsurgeon.scanning.jobs.answers_job import answers_job, list_questions
from ggufsurgeon.scanning.jobs.job import ItemTable, Scored, list_items, scan_job
from ggufsurgeon.scanning.jobs.kept_scores import KeptScores, kept_scores
from ggufsurgeon.scanning.jobs.parts import part_size, run_parts, settled_key
from ggufsurgeon.scanning.jobs.stored_groups import StoredGroups, WholeScan
from ggufsurgeon.scanning.probes.answers import AnswerProbe, AnyProbe, constant_score
from ggufsurgeon.scanning.probes.probe import probe_errors
from ggufsurgeon.scanning.racing.race import Race
from ggufsurgeon.scanning.racing.work import RacedScan
from ggufsurgeon.scanning.selection import LeftOut, Selection, select_paths
from ggufsurgeon.scanning.verdicts.best_so_far import BestSoFar
from ggufsurgeon.scanning.verdicts.joint import JOINT
from ggufsurgeon.store.database import StoreWriteError
from ggufsurgeon.store.fingerprint import ModelFingerprint
from ggufsurgeon.store.machine import Machine
from ggufsurgeon.store.scan_scores import (
    ProbeKey,
    ScannedItem,
    ScannedModel,
    ScannedPath,
)
from ggufsurgeon.store.store import Store, opened_store
from ggufsurgeon.workers.runner import Runner


@dataclass(frozen=True)
class ScanTask:
    """Layer paths over a model, to be scored by a probe."""

    model: Path
    devices: Devices
    probe: AnyProbe
    paths: tuple[LayerPath, ...]
    only_writable: bool = False
    """Whether paths of which no file can be written are left out."""
    race: Race | None = None
    """How paths are left out as scores come; None to run all of them on all items."""
    content_sha256: str | None = None
    """SHA-256 of the model file, to be compared with that in the store; None to compare none."""


@dataclass(frozen=True)
class ScanSize:
    """How much work a scan is, told before it begins."""

    n_paths: int
    """Paths that are run, without that of the unmodified model."""
    refused: LeftOut
    """Paths that cannot be run exactly."""
    not_writable: LeftOut
    """Paths of which no file can be written, among those that are run or left out for it."""
    has_base: bool
    """Whether the path of the unmodified model was asked for too, which is no path of its own."""
    n_items: int
    n_groups: int
    n_passes: int
    """Passes of a group along a path that are still to be run."""
    n_known: int
    """Passes whose scores the store has already."""
    n_item_passes: int
    """Passes of an item along a path, known or not, those of the unmodified model too."""
    n_item_passes_of_all: int
    """The same of a scan of all paths on all items: a race has fewer."""
    n_others: int = 0
    """Scans in the store by a probe of this name with other items or settings, or another build of
    llama.cpp or CPU."""
    constant_score: float | None = None
    """What the best constant answer to the questions of the probe would score, where that is
    known."""


def scan(
    task: ScanTask,
    store: Path,
    runner: Runner,
    *,
    progress: Progress = NO_PROGRESS,
    on_size: Callable[[ScanSize], object] | None = None,
    on_result: Callable[[Scored], object] | None = None,
    on_wait: Callable[[str], object] | None = None,
) -> None:
    """Score all paths of a task that the store does not know, group of items by group.

    `on_size` is called before the work, `on_result` with the scores of each group along each path,
    once they are in the store. Several processes may fill one store: each takes groups that no
    other has. In a race they decide together, by all scores of a round, and wait for each other;
    `on_wait` is called once, with the process that is waited for, when that takes some time.
    Raises UsageError for a probe named `joint`, RefusedError for a store of another file, and as
    `select_paths`, `opened_store`, the jobs and `Race.check`.
    """
    if task.probe.name == JOINT:
        raise UsageError(f"a probe cannot be called {JOINT}: reports call all of them that")
    file = open_gguf(task.model)
    base = LayerPath.identity(find_blocks(file).n_trunk)
    selection = select_paths(
        task.paths,
        PathCosts(file),
        base,
        is_aliased=isinstance(task.probe, AnswerProbe),
        only_writable=task.only_writable,
    )
    items = _items(task, runner)
    with opened_store(store) as opened:
        key = settled_key(opened, runner, lambda machine: _key(task, items, machine))
        kept = _prepared(opened, task, file, selection.known, items, key)
        groups = StoredGroups(kept.scores, items.groups, on_wait, part_size(runner))
        plan = _plan(task, groups, items, selection.runnable, base)
        size = _size(task, selection, items, plan, _n_others(opened, kept))
        if on_size is not None:
            on_size(size)
        progress.begin(f"scan by {task.probe.name}", size.n_passes, "paths")
        with telling_what_is_kept(store):
            _run(task, runner, kept, plan, BestSoFar(base), progress, on_result)


def _items(task: ScanTask, runner: Runner) -> ItemTable:
    """The items of the probe. Raises UsageError for a race by answers, or over too few items."""
    if not isinstance(task.probe, AnswerProbe):
        items = runner.run(list_items, task.model, task.devices, task.probe, task.race)
        if task.race is not None:
            task.race.check(len(items.labels))
        return items
    if task.race is not None:
        raise UsageError(
            f"probe {task.probe.name}: races work with probes that score given text, not answers"
        )
    return runner.run(list_questions, task.model, task.devices, task.probe)


def _plan(
    task: ScanTask,
    groups: StoredGroups,
    items: ItemTable,
    paths: Sequence[LayerPath],
    base: LayerPath,
) -> WholeScan | RacedScan:
    if task.race is None:
        return WholeScan(groups, items, paths, base)
    return RacedScan(groups, items, paths, base, task.race)


def _key(task: ScanTask, items: ItemTable, machine: Machine) -> ProbeKey:
    """What the store knows the scan by."""
    with probe_errors(task.probe.name):
        settings = {**task.probe.settings(), "devices": task.devices.as_settings()}
    name = task.probe.name
    if task.race is not None:
        settings |= task.race.settings()
        name = f"{name}-race"
    model = ModelFingerprint.of(task.model)
    return ProbeKey(model, machine, name, items.sha256, task.probe.unit, settings)


def _prepared(
    store: Store,
    task: ScanTask,
    file: GgufFile,
    known: Sequence[ScannedPath],
    items: ItemTable,
    key: ProbeKey,
) -> KeptScores:
    """The scores of the probe in the store, which then knows the model, the paths and the items."""
    model = ScannedModel(task.model.name, str(file.header.architecture), find_blocks(file).n_trunk)
    number = store.model_number(key.model)
    if task.content_sha256 is not None:
        store.scans.set_content(number, task.content_sha256)
    store.scans.add_model(number, model, known)
    has_parsed = isinstance(task.probe, AnswerProbe)
    kept = kept_scores(store, number, key, has_parsed=has_parsed)
    rows = zip(items.labels, items.n_tokens, strict=True)
    kept.set_items([ScannedItem(*row) for row in rows])
    kept.ask([path.layer_path for path in known])
    return kept


def _n_others(store: Store, kept: KeptScores) -> int:
    """Scans of the model by other probes of the same name."""
    return sum(one.name == kept.scores.name for one in store.scans.probes(kept.model)) - 1


def _size(
    task: ScanTask,
    selection: Selection,
    items: ItemTable,
    plan: WholeScan | RacedScan,
    n_others: int,
) -> ScanSize:
    n_paths, n_items, n_missing = len(selection.runnable), len(items.labels), plan.n_missing()
    n_of_all = (n_paths + 1) * n_items
    with probe_errors(task.probe.name):
        constant = constant_score(task.probe)
    return ScanSize(
        n_paths=n_paths,
        refused=selection.refused,
        not_writable=selection.not_writable,
        has_base=selection.has_base,
        n_items=n_items,
        n_groups=len(items.groups),
        n_passes=n_missing,
        n_known=plan.n_passes() - n_missing,
        n_item_passes=plan.n_item_passes() if isinstance(plan, RacedScan) else n_of_all,
        n_item_passes_of_all=n_of_all,
        n_others=n_others,
        constant_score=constant,
    )


def _run(
    task: ScanTask,
    runner: Runner,
    kept: KeptScores,
    plan: WholeScan | RacedScan,
    best: BestSoFar,
    progress: Progress,
    on_result: Callable[[Scored], object] | None,
) -> None:
    def take(found: Sequence[Scored]) -> None:
        kept.add(found)
        for scored in found:
            best.add(scored)
            progress.advance(1, best.note)
            if on_result is not None:
                on_result(scored)

    over: tuple[Any, ...] = (task.model, task.devices, task.probe)
    if isinstance(task.probe, AnswerProbe):
        job: Callable[..., None] = answers_job
    else:
        job, over = scan_job, (*over, task.race)
    with closing(plan.work()) as parts:  # an error gives the leases back at once
        run_parts(runner, job, over, parts, take, plan.end)


@contextmanager
def telling_what_is_kept(store: Path) -> Iterator[None]:
    """Let errors that end a scan say what becomes of the scores so far."""
    try:
        yield
    except StoreWriteError:
        raise  # it says so itself
    except GgufSurgeonError as error:
        error.state = f"{store} keeps all scores so far."
        raise
