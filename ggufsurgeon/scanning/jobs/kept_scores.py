"""The scores of a probe in a store, and of generated answers beside them which could be parsed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ggufsurgeon.own_version import own_version
from ggufsurgeon.scanning.jobs.job import Scored
from ggufsurgeon.scanning.probes.answers import PARSED_SUFFIX, PARSED_UNIT
from ggufsurgeon.store.scan_scores import ProbeKey, ProbeScores, ScannedItem
from ggufsurgeon.store.store import Store


@dataclasses.dataclass(frozen=True)
class KeptScores:
    """The scores of one probe. Made by `kept_scores`."""

    model: int
    """The number of the model in the store."""
    scores: ProbeScores
    parsed: ProbeScores | None

    def set_items(self, items: Sequence[ScannedItem]) -> None:
        """Keep the items of a probe that is new here."""
        for one in (self.scores, self.parsed):
            if one is not None:
                one.set_items(items)

    def ask(self, paths: Sequence[str]) -> None:
        """Keep which layer paths are asked for."""
        for one in (self.scores, self.parsed):
            if one is not None:
                one.ask(paths, own_version())

    def add(self, found: Sequence[Scored]) -> None:
        """Commit what a job has emitted. Scores come last: a group that has them has all."""
        if self.parsed is not None:
            self.parsed.add_all([(str(one.path), one.items.start, one.parsed) for one in found])
        self.scores.add_all([(str(one.path), one.items.start, one.scores) for one in found])


def kept_scores(store: Store, model: int, key: ProbeKey, *, has_parsed: bool) -> KeptScores:
    """The scores of a probe, with a probe of its own for which answers could be parsed."""
    parsed = dataclasses.replace(key, name=f"{key.name}{PARSED_SUFFIX}", unit=PARSED_UNIT)
    scores = store.probe_scores(key)
    return KeptScores(model, scores, store.probe_scores(parsed) if has_parsed else None)
