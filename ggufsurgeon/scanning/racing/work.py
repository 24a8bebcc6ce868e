"""The work of a race over a store, which other processes may fill at the same time."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.jobs.job import ItemTable, Work
from ggufsurgeon.scanning.jobs.stored_groups import PATIENCE_S, StoredGroups
from ggufsurgeon.scanning.racing.race import Race, Round, current_round


class RacedScan:
    """The work of a scan that leaves paths out, round by round."""

    def __init__(
        self,
        groups: StoredGroups,
        items: ItemTable,
        paths: Sequence[LayerPath],
        base: LayerPath,
        race: Race,
    ) -> None:
        self._groups = groups
        self._base = base
        self._names = {str(path): path for path in paths if path != base}
        self._course = race.course(len(items.labels))

    def n_item_passes(self) -> int:
        """Passes of an item along a path in the whole race."""
        return self._course.n_item_passes(len(self._names))

    def n_passes(self) -> int:
        """Passes of a group along a path in the whole race, with those that are known."""
        return sum(self._passes_of_rounds())

    def n_missing(self) -> int:
        """Those that are still to be run."""
        now = self._round()
        of_later = sum(self._passes_of_rounds()[now.number + 1 :])
        return of_later + self._groups.n_missing(self._groups.within(now.items), self._paths(now))

    def work(self, patience_s: float = PATIENCE_S) -> Generator[Work | None, None, None]:
        """The groups of each round, as `StoredGroups.work` gives them: None while others end it."""
        while (now := self._round()).items:
            groups = self._groups.within(now.items)
            yield from self._groups.work(groups, self._paths(now), patience_s)

    def end(self, done: Sequence[Work]) -> None:
        """Take parts for done."""
        self._groups.end(done)

    def _round(self) -> Round:
        return current_round(
            self._course, tuple(self._names), str(self._base), self._groups.scores()
        )

    def _paths(self, now: Round) -> list[LayerPath]:
        return [self._base, *(self._names[name] for name in now.paths)]

    def _passes_of_rounds(self) -> list[int]:
        n_paths = self._course.n_paths_in_rounds(len(self._names))
        pairs = zip(self._course.rounds, n_paths, strict=True)
        return [len(self._groups.within(items)) * (n + 1) for items, n in pairs]
