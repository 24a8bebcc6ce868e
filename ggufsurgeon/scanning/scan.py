"""A scan: all layer paths by one probe, in a worker, kept in a store as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.scanning.answers_job import answers_job, list_questions
from ggufsurgeon.scanning.best_so_far import BestSoFar
from ggufsurgeon.scanning.costs import PathCosts
from ggufsurgeon.scanning.job import ItemTable, Scored, Work, list_items, scan_job
from ggufsurgeon.scanning.probes.answers import (
    PARSED_SUFFIX,
    PARSED_UNIT,
    AnswerProbe,
    AnyProbe,
    constant_score,
)
from ggufsurgeon.scanning.probes.probe import probe_errors
from ggufsurgeon.store.fingerprint import ModelFingerprint
from ggufsurgeon.store.lease_owner import this_owner
from ggufsurgeon.store.machine import this_machine
from ggufsurgeon.store.scan_scores import (
    ProbeKey,
    ProbeScores,
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


@dataclass(frozen=True)
class ScanSize:
    """How much work a scan is, told before it begins."""

    n_paths: int
    """Paths that are run, without that of the unmodified model."""
    n_refused: int
    """Paths that cannot be run exactly."""
    n_not_writable: int
    """Paths of which no file can be written, among those that are run or left out."""
    n_items: int
    n_groups: int
    n_passes: int
    """Passes of a group along a path that are still to be run."""
    n_known: int
    """Passes whose scores the store has already."""
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
) -> None:
    """Score all paths of a task that the store does not know, group of items by group.

    `on_size` is called before the work, `on_result` with the scores of each group along each path,
    once they are in the store. Several processes may fill one store: each takes groups that no
    other has. Raises as `opened_store` and the jobs.
    """
    file = open_gguf(task.model)
    costs = PathCosts(file)
    known = [costs.of(path) for path in task.paths]
    listing = list_questions if isinstance(task.probe, AnswerProbe) else list_items
    items = runner.run(listing, task.model, task.devices, task.probe)
    with opened_store(store) as opened:
        kept = _prepared(opened, task, file, known, items)
        paths = _runnable(task, known)
        groups = _Groups(kept, items, paths, LayerPath.identity(find_blocks(file).n_trunk))
        size = groups.size(task, known)
        if on_size is not None:
            on_size(size)
        progress.begin(f"scan by {task.probe.name}", size.n_passes, "paths")
        _run(task, runner, groups, progress, on_result)


def _prepared(
    store: Store,
    task: ScanTask,
    file: GgufFile,
    known: Sequence[ScannedPath],
    items: ItemTable,
) -> _Kept:
    """The scores of the probe in the store, which then knows the model, the paths and the items."""
    fingerprint = ModelFingerprint.of(task.model)
    with probe_errors(task.probe.name):
        settings = dict(task.probe.settings())
    model = ScannedModel(task.model.name, str(file.header.architecture), find_blocks(file).n_trunk)
    store.scans.add_model(store.model_number(fingerprint), model, known)
    key = ProbeKey(
        fingerprint,
        this_machine(),
        task.probe.name,
        items.sha256,
        task.probe.unit,
        {**settings, "devices": _as_settings(task.devices)},
    )
    keys = [key]
    if isinstance(task.probe, AnswerProbe):
        name = f"{key.name}{PARSED_SUFFIX}"
        keys.append(dataclasses.replace(key, name=name, unit=PARSED_UNIT))
    kept = _Kept(*map(store.probe_scores, keys))
    rows = zip(items.labels, items.n_tokens, strict=True)
    kept.set_items([ScannedItem(*row) for row in rows])
    return kept


@dataclass(frozen=True)
class _Kept:
    """The scores of a probe in a store, and of answers beside them which could be parsed."""

    scores: ProbeScores
    parsed: ProbeScores | None = None

    def set_items(self, items: Sequence[ScannedItem]) -> None:
        """Keep the items of a probe that is new here."""
        for one in (self.scores, self.parsed):
            if one is not None:
                one.set_items(items)

    def add(self, scored: Scored) -> None:
        """Commit what a job has emitted. Scores come last: a group that has them has all."""
        path, first = str(scored.path), scored.items.start
        if self.parsed is not None:
            self.parsed.add(path, first, scored.parsed)
        self.scores.add(path, first, scored.scores)


def _as_settings(devices: Devices) -> dict[str, Any]:
    """The devices as far as they decide how scores are rounded."""
    settings = dataclasses.asdict(devices)
    del settings["rpc_timeout_s"]
    return settings


def _runnable(task: ScanTask, known: Sequence[ScannedPath]) -> list[LayerPath]:
    pairs = zip(task.paths, known, strict=True)
    return [
        path
        for path, found in pairs
        if not found.refusal and not (task.only_writable and found.not_writable)
    ]


class _Groups:
    """The groups of items, and which paths each of them still lacks."""

    def __init__(
        self,
        kept: _Kept,
        items: ItemTable,
        paths: Sequence[LayerPath],
        identity: LayerPath,
    ) -> None:
        self.kept = kept
        self.identity = identity
        self._items = items
        self._paths = list(dict.fromkeys([identity, *paths]))
        self._owner = this_owner()

    def size(self, task: ScanTask, known: Sequence[ScannedPath]) -> ScanSize:
        """How much is to be done. Raises UsageError for a probe that fails."""
        with probe_errors(task.probe.name):
            constant = constant_score(task.probe)
        n_in_all = len(self._paths) * len(self._items.groups)
        n_missing = sum(len(self.missing(n)) for n in range(len(self._items.groups)))
        return ScanSize(
            n_paths=len(self._paths) - 1,
            n_refused=sum(bool(path.refusal) for path in known),
            n_not_writable=sum(bool(path.not_writable) and not path.refusal for path in known),
            n_items=len(self._items.labels),
            n_groups=len(self._items.groups),
            n_passes=n_missing,
            n_known=n_in_all - n_missing,
            constant_score=constant,
        )

    def missing(self, group: int) -> list[LayerPath]:
        """The paths without a score of a group. A group is committed whole."""
        known = self.kept.scores.scored_paths(self._items.groups[group].start)
        return [path for path in self._paths if str(path) not in known]

    def work(self) -> Iterator[Work]:
        """What nobody else works on, one group at a time; each is leased while it is out."""
        for group, items in enumerate(self._items.groups):
            if self.missing(group):
                with self._leased(items.start) as is_ours:
                    if is_ours:
                        yield Work(group, tuple(self.missing(group)))

    @contextmanager
    def _leased(self, first_item: int) -> Iterator[bool]:
        is_ours = self.kept.scores.claim(first_item, self._owner)
        try:
            yield is_ours
        finally:
            if is_ours:
                self.kept.scores.release(first_item, self._owner)


def _run(
    task: ScanTask,
    runner: Runner,
    groups: _Groups,
    progress: Progress,
    on_result: Callable[[Scored], object] | None,
) -> None:
    best = BestSoFar(groups.identity)

    def take(scored: Scored) -> None:
        groups.kept.add(scored)
        best.add(scored)
        progress.advance(1, best.note)
        if on_result is not None:
            on_result(scored)

    job = answers_job if isinstance(task.probe, AnswerProbe) else scan_job
    for work in groups.work():
        runner.run(job, task.model, task.devices, task.probe, [work], on_result=take)
