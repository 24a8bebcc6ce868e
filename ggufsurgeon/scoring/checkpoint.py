"""Scores of earlier runs, kept in a store, and the measurement that they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scoring.task import (
    LogitsFileReference,
    ModelReference,
    PathReference,
    ScoringTask,
)
from ggufsurgeon.statistics.scores import PairedScores, TokenScores
from ggufsurgeon.store.fingerprint import (
    ModelFingerprint,
    TextFingerprint,
    data_fingerprint,
    fingerprint_of_others,
)
from ggufsurgeon.store.machine import this_machine
from ggufsurgeon.store.measurement import Arrays, Measurement, MeasurementKey
from ggufsurgeon.store.store import opened_store
from ggufsurgeon.workers.runner import Runner

PAIRED = tuple(f"paired_{name}" for name in PairedScores._fields)
"""Names of the arrays of paired scores in a store."""


class Checkpoint:
    """Token scores of earlier runs along each path, and the measurement that takes more.

    Without a measurement nothing is known, and nothing is kept.
    """

    def __init__(self, layer_paths: Sequence[str], measurement: Measurement | None) -> None:
        self._layer_paths = layer_paths
        self._measurement = measurement
        self.scores = [_earlier(measurement, path) for path in layer_paths]
        """Scores of each path from chunk 0 on; None where there are none."""
        self._n_chunks = [0 if one is None else len(one.losses) for one in self.scores]

    @property
    def n_done(self) -> tuple[int, ...]:
        """How many chunks are scored along each path."""
        return tuple(self._n_chunks)

    def add(self, path: int, scores: TokenScores) -> None:
        """Keep the scores of the next chunks along a path. Raises as `Measurement.add`."""
        if self._measurement is not None:
            name = self._layer_paths[path]
            self._measurement.add(name, self._n_chunks[path], _as_arrays(scores))
        self._n_chunks[path] += len(scores.losses)


@contextmanager
def opened_checkpoint(path: Path | None, task: ScoringTask, runner: Runner) -> Iterator[Checkpoint]:
    """The checkpoint of `task`, run by `runner`, in the store at `path`; without one, none is kept.

    Raises as `opened_store`.
    """
    names = [_notation(one) or "" for one in task.layer_paths]
    if path is None:
        yield Checkpoint(names, None)
        return
    key = measurement_key(task, runner)  # before a file is made: what it reads may not be there
    with opened_store(path) as store:
        yield Checkpoint(names, store.measurement(key))


def measurement_key(task: ScoringTask, runner: Runner) -> MeasurementKey:
    """All that the scores of a task by a runner depend on but the layer paths that are scored.

    Raises UsageError or MalformedFileError when a model or a logits file cannot be read.
    """
    settings = {"is_routed": task.is_routed, "devices": task.devices.as_settings()}
    settings |= fingerprint_of_others(task.models)
    return MeasurementKey(
        model=ModelFingerprint.of(task.model),
        text=TextFingerprint.of(task.text),
        machine=this_machine(runner),
        settings=asdict(task.settings) | settings,
        reference=_reference(task),
    )


def _reference(task: ScoringTask) -> dict[str, Any] | None:
    """The reference: a model with its layer path, or a logits file by its fingerprint."""
    reference = task.reference
    if isinstance(reference, PathReference):
        return _model_along(task.model, reference.layer_path)
    if isinstance(reference, ModelReference):
        return _model_along(reference.model, reference.layer_path)
    if isinstance(reference, LogitsFileReference):
        return {"logits_fingerprint": data_fingerprint(reference.file)}
    return None


def _model_along(model: Path, path: LayerPath | None) -> dict[str, Any]:
    return {"model": ModelFingerprint.of(model)._asdict(), "layer_path": _notation(path)}


def _notation(path: LayerPath | None) -> str | None:
    return None if path is None else str(path)


def _earlier(measurement: Measurement | None, layer_path: str) -> TokenScores | None:
    return None if measurement is None else _as_scores(measurement.arrays(layer_path))


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
