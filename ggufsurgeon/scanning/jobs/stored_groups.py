"""The groups of items of a scan in its store: which scores they lack, and who works on them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import NamedTuple

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.jobs.job import ItemTable, Work
from ggufsurgeon.store.database import StoreWriteError
from ggufsurgeon.store.lease_owner import describe, this_owner
from ggufsurgeon.store.scan_scores import ProbeScores

N_LEASED = 48
"""Layer paths that a process takes at a time: each time costs it a pass along all blocks."""
QUIET_S = 3.0
"""Seconds of waiting for others after which that is told."""
PATIENCE_S = 300.0
"""Seconds without a score after which work is done twice rather than waited for: of a process on
another host nobody knows whether it lives."""


class _Part(NamedTuple):
    """Layer paths of a group that are leased together, by the first of its items and paths."""

    first_item: int
    first_path: str


class StoredGroups:
    """The groups of items of one probe. A group is committed whole along each path."""

    def __init__(
        self,
        scores: ProbeScores,
        groups: Sequence[range],
        on_wait: Callable[[str], object] | None = None,
        part_size: Callable[[int], int] = lambda _n_missing: N_LEASED,
    ) -> None:
        self._scores = scores
        self._groups = groups
        self._owner = this_owner()
        self._on_wait = on_wait
        """Called once with a name of the process that is waited for."""
        self._part_size = part_size
        """The most layer paths of a part, by the passes that are missing when work begins."""
        self._out: dict[Work, _Part] = {}
        """What this process works on."""

    def within(self, items: range) -> list[int]:
        """The groups whose items are among these."""
        return [n for n, group in enumerate(self._groups) if group.start in items]

    def scores(self) -> Mapping[str, Mapping[int, float]]:
        """All scores so far, by layer path and item."""
        return self._scores.scores()

    def n_missing(self, groups: Iterable[int], paths: Iterable[LayerPath]) -> int:
        """Passes of these groups along these paths that the store has no scores of."""
        missing = self._missing_of(groups, set(map(str, paths)))
        return sum(map(len, missing.values()))

    def work(
        self,
        groups: Sequence[int],
        paths: Sequence[LayerPath],
        patience_s: float = PATIENCE_S,
    ) -> Generator[Work | None, None, None]:
        """What is missing of these groups, until nothing is.

        Several parts may be out at a time; each is leased until `end` is called with it, or the
        generator is closed. None stands for a moment in which all that is missing is out, here or
        in other processes: ask again soon.
        """
        named = {str(path): path for path in paths}
        n_before, since, idle_since, size = -1, 0.0, math.inf, 0
        try:
            while missing := self._missing_of(groups, named.keys()):
                groups, n_missing = list(missing), sum(map(len, missing.values()))
                size = size or self._part_size(n_missing)
                parts = list(_parts(list(named), size))
                if n_missing != n_before:
                    n_before, since = n_missing, time.monotonic()
                is_shared, n_parts = time.monotonic() - since < patience_s, 0
                for group in groups:
                    n_parts += yield from self._of_group(
                        group, missing[group], parts, named, is_shared
                    )
                if n_parts:
                    idle_since = math.inf
                    continue
                idle_since = min(idle_since, time.monotonic())
                if time.monotonic() - idle_since >= QUIET_S and not self._out:
                    self._tell_of_wait(missing, parts)
                yield None
        finally:
            with suppress(StoreWriteError):  # a full disk is told already, and our end frees them
                self.end(list(self._out))

    def end(self, done: Sequence[Work]) -> None:
        """Give back the leases of parts that have been worked on, unless others have them."""
        self._scores.release([self._out.pop(work) for work in done], self._owner)

    def _missing(self, group: int, names: Set[str]) -> Set[str]:
        """Which of the paths have no score of a group."""
        return names - self._scores.scored_paths(self._groups[group].start)

    def _missing_of(self, groups: Iterable[int], names: Set[str]) -> dict[int, Set[str]]:
        """The same of several groups, of those that lack any."""
        found = {group: self._missing(group, names) for group in groups}
        return {group: missing for group, missing in found.items() if missing}

    def _tell_of_wait(
        self, missing: Mapping[int, Set[str]], parts: Sequence[Sequence[str]]
    ) -> None:
        """Name the process that has the first of what is missing, unless one was named before."""
        if self._on_wait is None:
            return
        group, lacking = next(iter(missing.items()))
        first = next(part for part in parts if not lacking.isdisjoint(part))
        owner = self._scores.lease_owner(self._groups[group].start, first[0])
        if owner is not None:
            on_wait, self._on_wait = self._on_wait, None
            on_wait(describe(owner))

    def _of_group(
        self,
        group: int,
        missing: Set[str],
        parts: Sequence[Sequence[str]],
        named: Mapping[str, LayerPath],
        is_shared: bool,
    ) -> Generator[Work, None, int]:
        """What is missing of a group and nobody works on; returns how many parts that were."""
        n_parts, first_item = 0, self._groups[group].start
        out = {part for part in self._out.values() if part.first_item == first_item}
        for names in parts:
            part = _Part(first_item, names[0])
            if part in out or missing.isdisjoint(names):
                continue
            is_ours = self._scores.claim(*part, self._owner)
            left = self._missing(group, set(names))  # again: others may have added some
            if left and (is_ours or not is_shared):
                n_parts += 1
                work = Work(group, tuple(named[name] for name in names if name in left))
                self._out[work] = part
                yield work
            elif is_ours:
                self._scores.release([part], self._owner)
        return n_parts


def _parts(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """What is leased together."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


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

    def work(self) -> Generator[Work | None, None, None]:
        """What is missing, as `StoredGroups.work` gives it."""
        return self._groups.work(self._numbers, self._paths)

    def end(self, done: Sequence[Work]) -> None:
        """Take parts for done."""
        self._groups.end(done)
