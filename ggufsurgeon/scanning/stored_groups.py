"""The groups of items of a scan in its store: which scores they lack, and who works on them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.job import ItemTable, Work
from ggufsurgeon.store.lease_owner import this_owner
from ggufsurgeon.store.scan_scores import ProbeScores

N_LEASED = 48
"""Layer paths that a process takes at a time: each time costs it a pass along all blocks."""
POLL_S = 0.5
"""Seconds between two looks at what other processes do."""
PATIENCE_S = 300.0
"""Seconds without a score after which work is done twice rather than waited for: of a process on
another host nobody knows whether it lives."""


class StoredGroups:
    """The groups of items of one probe. A group is committed whole along each path."""

    def __init__(self, scores: ProbeScores, groups: Sequence[range]) -> None:
        self._scores = scores
        self._groups = groups
        self._owner = this_owner()

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
    ) -> Iterator[Work]:
        """What is missing of these groups, until nothing is; each part is leased while it is out.

        Parts that other processes work on are waited for.
        """
        n_before, since = -1, 0.0
        while n_missing := self.n_missing(groups, paths):
            if n_missing != n_before:
                n_before, since = n_missing, time.monotonic()
            is_shared = time.monotonic() - since < patience_s
            for group in groups:
                yield from self._of_group(group, paths, is_shared)
            if self.n_missing(groups, paths) == n_missing:
                time.sleep(POLL_S)

    def _of_group(self, group: int, paths: Sequence[LayerPath], is_shared: bool) -> Iterator[Work]:
        for start in range(0, len(paths), N_LEASED):
            part = paths[start : start + N_LEASED]
            if self.missing(group, part):
                with self._leased(self._groups[group].start, str(part[0])) as is_ours:
                    missing = self.missing(group, part)  # again: others may have added some
                    if missing and (is_ours or not is_shared):
                        yield Work(group, tuple(missing))

    @contextmanager
    def _leased(self, first_item: int, first_path: str) -> Iterator[bool]:
        is_ours = self._scores.claim(first_item, first_path, self._owner)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._scores.release(first_item, first_path, self._owner)


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

    def work(self) -> Iterator[Work]:
        """What is missing."""
        return self._groups.work(self._numbers, self._paths)
