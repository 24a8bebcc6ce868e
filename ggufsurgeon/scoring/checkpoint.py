"""The scores of a task in a store, so that an interrupted run resumes, path by path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ggufsurgeon.scoring.identity import identity
from ggufsurgeon.scoring.task import ScoringTask
from ggufsurgeon.statistics.scores import PairedScores, TokenScores
from ggufsurgeon.store.store import Arrays, Measurement, opened_store

PAIRED = tuple(f"compared_{name}" for name in PairedScores._fields)
"""Names of the arrays of paired scores in a store."""


class Checkpoint:
    """What earlier runs found along each path, and where new scores are added, if anywhere."""

    def __init__(self, measurements: Sequence[Measurement | None]) -> None:
        self._measurements = measurements
        self.scores = [None if one is None else _as_scores(one.arrays()) for one in measurements]
        """Scores of each path from chunk 0 on; None where there are none."""
        self._n_chunks = [0 if one is None else len(one.losses) for one in self.scores]

    @property
    def n_done(self) -> tuple[int, ...]:
        """How many chunks are scored along each path."""
        return tuple(self._n_chunks)

    def add(self, path: int, scores: TokenScores) -> None:
        """Keep the scores of the next chunks along a path. Raises as `Measurement.add`."""
        measurement = self._measurements[path]
        if measurement is not None:
            measurement.add(self._n_chunks[path], _as_arrays(scores))
        self._n_chunks[path] += len(scores.losses)


@contextmanager
def opened_checkpoint(path: Path | None, task: ScoringTask) -> Iterator[Checkpoint]:
    """What the store at `path` holds of a task; without one, scores are kept in memory alone.

    Raises as `opened_store`.
    """
    if path is None:
        yield Checkpoint([None] * len(task.layer_paths))
        return
    measured = identity(task)  # before a file is made: what it reads may not be there
    with opened_store(path) as store:
        names = ["" if one is None else str(one) for one in task.layer_paths]
        yield Checkpoint([store.measurement(measured, name) for name in names])


def _as_arrays(scores: TokenScores) -> Arrays:
    arrays: Arrays = {"losses": scores.losses}
    if scores.base_losses is not None:
        arrays["base_losses"] = scores.base_losses
    if scores.paired is not None:
        arrays |= dict(zip(PAIRED, scores.paired, strict=True))
    return arrays


def _as_scores(arrays: Arrays) -> TokenScores | None:
    if not arrays:
        return None
    paired = [arrays[name] for name in PAIRED if name in arrays]
    return TokenScores(
        arrays["losses"], arrays.get("base_losses"), PairedScores(*paired) if paired else None
    )
