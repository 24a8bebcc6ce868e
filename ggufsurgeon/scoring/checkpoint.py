"""The findings of a measurement in a store, so that an interrupted run resumes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ggufsurgeon.scoring.identity import identity
from ggufsurgeon.scoring.task import Task
from ggufsurgeon.statistics.scores import Compared, Findings
from ggufsurgeon.store.store import Arrays, Measurement, opened_store

COMPARED = tuple(f"compared_{name}" for name in Compared._fields)


class Checkpoint:
    """What earlier runs found, and where the next findings are added, if anywhere."""

    def __init__(self, findings: Findings | None, measurement: Measurement | None) -> None:
        self.findings = findings
        self._measurement = measurement
        self._n_chunks = 0 if findings is None else len(findings.losses)

    def add(self, findings: Findings) -> None:
        """Keep the next chunks. Raises as `Measurement.add`."""
        if self._measurement is None:
            return
        self._measurement.add(self._n_chunks, _as_arrays(findings))
        self._n_chunks += len(findings.losses)


@contextmanager
def opened_checkpoint(path: Path | None, task: Task) -> Iterator[Checkpoint]:
    """What the store at `path` holds of a task; without a path, findings are kept in memory alone.

    Raises as `opened_store`.
    """
    if path is None:
        yield Checkpoint(None, None)
        return
    layer_path = "" if task.side.layer_path is None else str(task.side.layer_path)
    measured = identity(task)  # before a file is made: what it reads may not be there
    with opened_store(path) as store:
        measurement = store.measurement(measured, layer_path)
        yield Checkpoint(_as_findings(measurement.arrays()), measurement)


def _as_arrays(findings: Findings) -> Arrays:
    arrays: Arrays = {"losses": findings.losses}
    if findings.base_losses is not None:
        arrays["base_losses"] = findings.base_losses
    if findings.compared is not None:
        arrays |= dict(zip(COMPARED, findings.compared, strict=True))
    return arrays


def _as_findings(arrays: Arrays) -> Findings | None:
    if not arrays:
        return None
    compared = [arrays[name] for name in COMPARED if name in arrays]
    return Findings(
        arrays["losses"], arrays.get("base_losses"), Compared(*compared) if compared else None
    )
