"""The groups of items of a scan in its store: which scores they lack, and who works on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.job import ItemTable, Work
from ggufsurgeon.store.lease_owner import this_owner
from ggufsurgeon.store.scan_scores import ProbeScores


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
        self, groups: Iterable[int], paths: Sequence[LayerPath], *, is_shared: bool = True
    ) -> Iterator[Work]:
        """What is missing of these groups, one group at a time; each is leased while it is out.

        Groups that others work on are left out, unless told that the work is not shared.
        """
        for group in groups:
            if self.missing(group, paths):
                with self._leased(self._groups[group].start) as is_ours:
                    missing = self.missing(group, paths)  # again: others may have added some
                    if missing and (is_ours or not is_shared):
                        yield Work(group, tuple(missing))

    @contextmanager
    def _leased(self, first_item: int) -> Iterator[bool]:
        is_ours = self._scores.claim(first_item, self._owner)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._scores.release(first_item, self._owner)


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
        """What nobody else works on."""
        return self._groups.work(self._numbers, self._paths)
