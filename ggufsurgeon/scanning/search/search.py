"""A search over a store: steps of paths, each scored by the runner before the next is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.edits import WindowEdit
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.own_version import own_version
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.scanning.costs import PathCosts
from ggufsurgeon.scanning.jobs.job import Scored, scan_job
from ggufsurgeon.scanning.jobs.parts import part_size, run_parts
from ggufsurgeon.scanning.jobs.stored_groups import StoredGroups
from ggufsurgeon.scanning.scan import telling_what_is_kept
from ggufsurgeon.scanning.search.beam import Space, beam_search
from ggufsurgeon.scanning.search.candidates import Composition
from ggufsurgeon.scanning.search.composition_paths import CompositionPaths
from ggufsurgeon.scanning.search.front import best_of_lengths
from ggufsurgeon.scanning.search.measured import Measured
from ggufsurgeon.scanning.search.opening import OpenedSearch, SearchTask, open_search
from ggufsurgeon.scanning.search.singles import chosen_singles, scanned_singles
from ggufsurgeon.statistics.maximum import LEAST_ITEMS
from ggufsurgeon.store.scan_scores import ScannedPath
from ggufsurgeon.store.store import Store, opened_store
from ggufsurgeon.workers.runner import Runner


class SearchStep(NamedTuple):
    """A step that is about to be run."""

    number: int
    """From 1."""
    n_paths: int
    n_passes: int
    """Passes of a group along a path that are still to be run."""
    is_held_out: bool
    """Whether it is the last one, of the best paths on the held-out items."""


def search(
    task: SearchTask,
    store: Path,
    runner: Runner,
    *,
    progress: Progress = NO_PROGRESS,
    on_step: Callable[[SearchStep], object] | None = None,
    on_wait: Callable[[str], object] | None = None,
) -> int:
    """Run what the store lacks of a search: its steps, and its best paths on the held-out items.

    Returns the number of the search in the store.
    `on_step` is called before each step. Several processes may run one search over one store:
    they make the same steps, and share the work of each. Raises as `open_search`, `opened_store`
    and `scan_job`, and RefusedError where no window of the scan can be composed.
    """
    file = open_gguf(task.model)
    if not store.exists():
        raise UsageError(
            f"{store}: there is no such store",
            hint="Scan the windows that are to be composed into it first.",
        )
    with opened_store(store) as opened:
        found = open_search(opened, task, file, runner)
        running = _Running(task, file, opened, found, runner)
        running.progress, running.on_step = progress, on_step
        running.groups = StoredGroups(found.scores, found.items.groups, on_wait, part_size(runner))
        with telling_what_is_kept(store):
            return running.run()


class _Running:
    """A search that is under way."""

    progress: Progress
    on_step: Callable[[SearchStep], object] | None
    groups: StoredGroups

    def __init__(
        self,
        task: SearchTask,
        file: GgufFile,
        store: Store,
        opened: OpenedSearch,
        runner: Runner,
    ) -> None:
        self._task, self._store, self._opened, self._runner = task, store, opened, runner
        self._n_blocks = opened.scanned_model.n_blocks
        self._base = LayerPath.identity(self._n_blocks)
        self._costs = PathCosts(file)
        self._looked_up: dict[LayerPath, ScannedPath] = {}
        self._kept = {one.layer_path for one in store.scans.paths(opened.model)}
        self._paths = CompositionPaths(self._n_blocks, self._can_be_used)
        self._n_steps = 0
        self._best = (-math.inf, "")

    def run(self) -> int:
        """All steps, and then the held-out items; returns the number of the search."""
        self._measure([], self._measured().search)
        n_known = len(self._measured().known(self._measured().search))
        if n_known < LEAST_ITEMS:
            raise RefusedError(
                f"the unmodified model has finite scores on {n_known} of "
                f"{len(self._measured().search)} search items; a search needs {LEAST_ITEMS}"
            )
        singles = self._singles()
        number = self._begin(singles)
        space = Space(singles, self._task.limits, self._paths.usable)
        scores = beam_search(space, self._score)
        chosen = [self._paths.of(one) for one in best_of_lengths(scores)]
        self._measure(chosen, self._measured().held_out, is_held_out=True)
        return number

    def _measured(self) -> Measured:
        """All scores so far."""
        scores, n_items = self._opened.scores.scores(), len(self._opened.items.labels)
        return Measured(scores, self._task.items, n_items, self._n_blocks)

    def _singles(self) -> tuple[WindowEdit, ...]:
        """What is composed: the best windows of the scan."""
        measured = self._measured()
        numbers = measured.numbers(measured.search)
        scanned = scanned_singles(self._opened.scan.scores(), self._n_blocks, numbers)
        singles = chosen_singles(scanned, self._task.limits, self._paths.is_possible)
        self._keep_looked_up()
        if not singles:
            raise self._nothing_to_compose(len(scanned.edits))
        return singles

    def _begin(self, singles: Sequence[WindowEdit]) -> int:
        """Let the store know the search."""
        settings = {
            **self._task.limits.settings(),
            "singles": [str(self._paths.of((edit,))) for edit in singles],
        }
        return self._store.searches.add(
            self._opened.scores,
            self._opened.scan,
            settings,
            self._costs.n_bytes_read,
            own_version(),
        )

    def _score(self, step: Sequence[Composition]) -> list[float]:
        paths = [self._paths.of(one) for one in step]
        self._measure(paths, self._measured().search)
        scores = self._measured().search_scores(paths)
        score, path = max(zip(scores, map(str, paths), strict=True))
        self._best = max(self._best, (score, path))
        return scores

    def _measure(
        self, paths: Sequence[LayerPath], items: range, *, is_held_out: bool = False
    ) -> None:
        """Run what is missing of a step."""
        self._keep_looked_up()
        groups, wanted = self.groups.within(items), [self._base, *paths]
        n_missing = self.groups.n_missing(groups, wanted)
        if paths:
            self._n_steps += 1
            if self.on_step is not None:
                self.on_step(SearchStep(self._n_steps, len(paths), n_missing, is_held_out))
        name = "held-out items" if is_held_out else f"step {self._n_steps}"
        self.progress.begin(f"search by {self._task.probe.name}, {name}", n_missing, "paths")
        over = self._task.model, self._task.devices, self._task.probe, self._task.items
        with closing(self.groups.work(groups, wanted)) as parts:
            run_parts(self._runner, scan_job, over, parts, self._take, self.groups.end)

    def _take(self, found: Sequence[Scored]) -> None:
        rows = [(str(scored.path), scored.items.start, scored.scores) for scored in found]
        self._opened.scores.add_all(rows)
        score, path = self._best
        self.progress.advance(len(found), f"best {path}: {score:+.3g}" if path else "")

    def _can_be_used(self, path: LayerPath) -> bool:
        if path not in self._looked_up:
            self._looked_up[path] = self._costs.of(path)
        known = self._looked_up[path]
        return not (known.refusal or known.not_writable)

    def _keep_looked_up(self) -> None:
        """Keep what is known of new paths, of those that cannot be used too."""
        known = [one for one in self._looked_up.values() if one.layer_path not in self._kept]
        self._store.scans.add_model(self._opened.model, self._opened.scanned_model, known)
        self._kept |= {one.layer_path for one in known}

    def _nothing_to_compose(self, n_scanned: int) -> RefusedError:
        reasons = [known.refusal or known.not_writable for known in self._looked_up.values()]
        why = next(filter(None, reasons), f"none adds at most {self._task.limits.max_blocks}")
        return RefusedError(
            f"none of the {n_scanned} windows of the scan can be combined: {why}",
            hint="Scan repeated or dropped windows first, on all items.",
        )
