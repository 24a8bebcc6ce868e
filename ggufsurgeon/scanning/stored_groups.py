"""The groups of items of a scan in its store: which scores they lack, and who works on them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.job import ItemTable, Work
from ggufsurgeon.store.database import StoreWriteError
from ggufsurgeon.store.lease_owner import describe, this_owner
from ggufsurgeon.store.scan_scores import ProbeScores

N_LEASED = 48
"""Layer paths that a process takes at a time: each time costs it a pass along all blocks."""
POLL_S = 0.5
"""Seconds between two looks at what other processes do."""
QUIET_S = 3.0
"""Seconds of waiting for others after which that is told."""
PATIENCE_S = 300.0
"""Seconds without a score after which work is done twice rather than waited for: of a process on
another host nobody knows whether it lives."""


class StoredGroups:
    """The groups of items of one probe. A group is committed whole along each path."""

    def __init__(
        self,
        scores: ProbeScores,
        groups: Sequence[range],
        on_wait: Callable[[str], object] | None = None,
    ) -> None:
        self._scores = scores
        self._groups = groups
        self._owner = this_owner()
        self._on_wait = on_wait
        """Called once with a name of the process that is waited for."""

    def within(self, items: range) -> list[int]:
        """The groups whose items are among these."""
        return [n for n, group in enumerate(self._groups) if group.start in items]

    def scores(self) -> Mapping[str, Mapping[int, float]]:
        """All scores so far, by layer path and item."""
        return self._scores.scores()

    def missing(self, group: int, paths: Iterable[LayerPath]) -> list[LayerPath]:
        """Which of the paths have no score of a group."""
        known = self._scores.scored_paths(self._groups[group].start)
        return [path for path in paths if str(path) not in known]

    def n_missing(self, groups: Iterable[int], paths: Sequence[LayerPath]) -> int:
        """Passes of these groups along these paths that the store has no scores of."""
        return sum(len(self.missing(group, paths)) for group in groups)

    def work(
        self,
        groups: Sequence[int],
        paths: Sequence[LayerPath],
        patience_s: float = PATIENCE_S,
    ) -> Generator[Work, None, None]:
        """What is missing of these groups, until nothing is; each part is leased while it is out.

        Parts that other processes work on are waited for.
        """
        n_before, since, idle_since = -1, 0.0, math.inf
        while n_missing := self.n_missing(groups, paths):
            if n_missing != n_before:
                n_before, since = n_missing, time.monotonic()
            is_shared, n_parts = time.monotonic() - since < patience_s, 0
            for group in groups:
                n_parts += yield from self._of_group(group, paths, is_shared)
            if n_parts:
                idle_since = math.inf
                continue
            idle_since = min(idle_since, time.monotonic())
            if time.monotonic() - idle_since >= QUIET_S:
                self._tell_of_wait(groups, paths)
            time.sleep(POLL_S)

    def _tell_of_wait(self, groups: Sequence[int], paths: Sequence[LayerPath]) -> None:
        """Name the process that has the first of what is missing, unless one was named before."""
        on_wait = self._on_wait
        missing = (
            (self._groups[group].start, str(part[0]))
            for group in groups
            for part in _parts(paths)
            if self.missing(group, part)
        )
        first = None if on_wait is None else next(missing, None)
        owner = None if first is None else self._scores.lease_owner(*first)
        if on_wait is not None and owner is not None:
            self._on_wait = None
            on_wait(describe(owner))

    def _of_group(
        self, group: int, paths: Sequence[LayerPath], is_shared: bool
    ) -> Generator[Work, None, int]:
        """What is missing of a group and nobody works on; returns how many parts that were."""
        n_parts = 0
        for part in _parts(paths):
            if self.missing(group, part):
                with self._leased(self._groups[group].start, str(part[0])) as is_ours:
                    missing = self.missing(group, part)  # again: others may have added some
                    if missing and (is_ours or not is_shared):
                        n_parts += 1
                        yield Work(group, tuple(missing))
        return n_parts

    @contextmanager
    def _leased(self, first_item: int, first_path: str) -> Iterator[bool]:
        is_ours = self._scores.claim(first_item, first_path, self._owner)
        if not is_ours:
            yield False
            return
        try:
            yield True
        except BaseException:
            with suppress(StoreWriteError):  # a full disk is told already, and our end frees it
                self._scores.release(first_item, first_path, self._owner)
            raise
        self._scores.release(first_item, first_path, self._owner)


def _parts(paths: Sequence[LayerPath]) -> Iterator[Sequence[LayerPath]]:
    """What is leased together."""
    for start in range(0, len(paths), N_LEASED):
        yield paths[start : start + N_LEASED]


class WholeScan:
    """The work of a scan that runs all groups along all paths."""

    def __init__(
        self, groups: StoredGroups, items: ItemTable, paths: Sequence[LayerPath], base: LayerPath
    ) -> None:
        self._groups = groups
        self._numbers = range(len(items.groups))
        self._paths = list(dict.fromkeys([base, *paths]))

    def n_passes(self) -> int:
        """Passes of a group along a path, with those that are known."""
        return len(self._numbers) * len(self._paths)

    def n_missing(self) -> int:
        """Those that are still to be run."""
        return self._groups.n_missing(self._numbers, self._paths)

    def work(self) -> Generator[Work, None, None]:
        """What is missing."""
        return self._groups.work(self._numbers, self._paths)
