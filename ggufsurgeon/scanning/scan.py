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
from ggufsurgeon.scanning.best_so_far import BestSoFar
from ggufsurgeon.scanning.costs import PathCosts
from ggufsurgeon.scanning.job import ItemTable, Scored, Work, list_items, scan_job
from ggufsurgeon.scanning.probes.probe import Probe
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
    probe: Probe
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
    items = runner.run(list_items, task.model, task.devices, task.probe)
    with opened_store(store) as opened:
        scores = _prepared(opened, task, file, known, items)
        paths = _runnable(task, known)
        groups = _Groups(scores, items, paths, LayerPath.identity(find_blocks(file).n_trunk))
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
) -> ProbeScores:
    """The scores of the probe in the store, which then knows the model, the paths and the items."""
    fingerprint = ModelFingerprint.of(task.model)
    model = ScannedModel(task.model.name, str(file.header.architecture), find_blocks(file).n_trunk)
    store.scans.add_model(store.model_number(fingerprint), model, known)
    key = ProbeKey(
        fingerprint,
        this_machine(),
        task.probe.name,
        items.sha256,
        task.probe.unit,
        {**task.probe.settings(), "devices": _as_settings(task.devices)},
    )
    scores = store.probe_scores(key)
    rows = zip(items.labels, items.n_tokens, strict=True)
    scores.set_items([ScannedItem(*row) for row in rows])
    return scores


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
        scores: ProbeScores,
        items: ItemTable,
        paths: Sequence[LayerPath],
        identity: LayerPath,
    ) -> None:
        self.scores = scores
        self.identity = identity
        self._items = items
        self._paths = list(dict.fromkeys([identity, *paths]))
        self._owner = this_owner()

    def size(self, task: ScanTask, known: Sequence[ScannedPath]) -> ScanSize:
        """How much is to be done."""
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
        )

    def missing(self, group: int) -> list[LayerPath]:
        """The paths without a score of a group. A group is committed whole."""
        known = self.scores.scored_paths(self._items.groups[group].start)
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
        is_ours = self.scores.claim(first_item, self._owner)
        try:
            yield is_ours
        finally:
            if is_ours:
                self.scores.release(first_item, self._owner)


def _run(
    task: ScanTask,
    runner: Runner,
    groups: _Groups,
    progress: Progress,
    on_result: Callable[[Scored], object] | None,
) -> None:
    best = BestSoFar(groups.identity)

    def take(scored: Scored) -> None:
        groups.scores.add(str(scored.path), scored.items.start, scored.scores)
        best.add(scored)
        progress.advance(1, best.note)
        if on_result is not None:
            on_result(scored)

    for work in groups.work():
        runner.run(scan_job, task.model, task.devices, task.probe, [work], on_result=take)
