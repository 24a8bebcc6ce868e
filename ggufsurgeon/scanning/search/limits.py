"""How far a search goes, and which items it uses. All of it decides what a search finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.strengths import FULL, strength_of
from ggufsurgeon.scanning.racing.race import Course
from ggufsurgeon.statistics.maximum import LEAST_ITEMS, held_out_items

SINGLES_PER_PLACE = 2
"""Windows of the scan that a search composes, for each place of the beam."""


@dataclass(frozen=True)
class SearchLimits:
    """What a search may try."""

    max_blocks: int = 8
    """Most blocks that a path has more than the model."""
    beam: int = 8
    """Paths that are kept after each step, and extended in the next."""
    max_paths: int = 256
    """Most paths that are run on the search items."""
    strengths: tuple[float, ...] = (0.5,)
    """Strengths of repeats that are tried, besides 1 and those of the scan."""

    def __post_init__(self) -> None:
        """Raise UsageError for limits that leave nothing to try, and as `strength_of`."""
        if min(self.max_blocks, self.beam, self.max_paths) < 1:
            raise UsageError(
                f"a search of at most {self.max_blocks} added blocks, {self.beam} paths kept and "
                f"{self.max_paths} paths in all: expected numbers above 0"
            )
        strengths = [strength_of(each) for each in self.strengths]
        if 0 in strengths:
            raise UsageError(
                "a search with repeats of the strength 0, which do nothing: "
                "expected numbers above 0"
            )
        kept = tuple(dict.fromkeys(each for each in strengths if each != FULL))
        object.__setattr__(self, "strengths", kept)

    @property
    def n_singles(self) -> int:
        """Windows of the scan that are composed."""
        return SINGLES_PER_PLACE * self.beam

    def settings(self) -> dict[str, Any]:
        """As JSON's types, for a store."""
        return {**dataclasses.asdict(self), "strengths": list(self.strengths)}

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> SearchLimits:
        """The limits that a store has kept."""
        names = [field.name for field in dataclasses.fields(cls)]
        known = {name: settings[name] for name in names}
        return cls(**{**known, "strengths": tuple(known["strengths"])})


@dataclass(frozen=True)
class SearchItems:
    """Which items choose paths, and which judge them: those are not looked at before the end."""

    held_out: float = 0.5
    """The share of items that judge."""
    seed: int = 0
    """Of the choice of those items."""

    def settings(self) -> dict[str, Any]:
        """As JSON's types, for the settings of a probe."""
        return {"search": dataclasses.asdict(self)}

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> SearchItems | None:
        """The items in the settings of a probe; None for a probe that is no search's."""
        found = settings.get("search")
        return None if found is None else cls(**found)

    def course(self, n_items: int) -> Course:
        """The items in the order that they are run in, the search items first."""
        is_held_out = held_out_items(n_items, self.held_out, self.seed)
        search, held_out = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
        n_search = len(search)
        rounds = (range(n_search), range(n_search, n_items))
        return Course((*search.tolist(), *held_out.tolist()), n_search, rounds, 0)

    def check(self, labels: Sequence[str]) -> None:
        """Raise UsageError for too few items: those held out could not judge what is found."""
        n_search = self.course(len(labels)).n_search
        n_held_out = len(labels) - n_search
        if min(n_search, n_held_out) < LEAST_ITEMS:
            raise UsageError(
                f"a search over {len(labels)} items: {n_search} that choose paths and "
                f"{n_held_out} that judge them are too few; each needs {LEAST_ITEMS}"
            )
