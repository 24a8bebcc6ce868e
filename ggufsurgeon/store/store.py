"""A store: the measurements of many models, texts and settings in one file.

What is added is committed at once: a run that is killed goes on where it was. Scores are kept as
the bytes of their arrays, and come back to the bit. Several processes may share a store; a write
waits for those of others.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.store.answers import EvaluationKey, KeptAnswers
from ggufsurgeon.store.database import (
    NEW_FILE,
    copied_database,
    database_errors,
    is_writable,
    opened_database,
    transaction,
)
from ggufsurgeon.store.fingerprint import ModelFingerprint
from ggufsurgeon.store.measurement import Measurement, MeasurementKey
from ggufsurgeon.store.scan_scores import ProbeKey, ProbeScores, ScanTable, settings_text
from ggufsurgeon.store.searches import SearchTable

BUSY_SECONDS = 30.0
"""How long a write waits for other processes that write to the same file."""

_KNOWN_PROBE = """SELECT probe.id FROM probe
    JOIN model ON model.id = probe.model JOIN machine ON machine.id = probe.machine
    WHERE name = ? AND items_sha256 = ? AND unit = ? AND settings = ?
    AND header_sha256 = ? AND data_fingerprint = ? AND n_bytes = ?
    AND engine = ? AND cpu = ? AND gpus = ?"""

READ_ANOTHER = "It was only read. Name the store that a scan or a measurement wrote."


class Store:
    """An open store. Made by `opened_store`."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    def measurement(self, key: MeasurementKey) -> Measurement:
        """The measurement of this key, found or made.

        Raises RefusedError when the file is damaged, StoreWriteError when it takes no more.
        """
        with database_errors(self._path), transaction(self._database):
            number = self._find(
                "measurement",
                model=self._find("model", **key.model._asdict()),
                text=self._find("text", **key.text._asdict()),
                machine=self._find("machine", **key.machine._asdict()),
                reference=_as_json(key.reference),
                settings=_as_json(key.settings),
            )
        return Measurement(self._path, self._database, number)

    @property
    def scans(self) -> ScanTable:
        """The models, layer paths and probes of scans."""
        return ScanTable(self._path, self._database)

    def model_number(self, model: ModelFingerprint) -> int:
        """The number of a model in this store."""
        with database_errors(self._path), transaction(self._database):
            return self._find("model", **model._asdict())

    def probe_scores(self, key: ProbeKey) -> ProbeScores:
        """The scores of a probe, found or made. Raises as `measurement`."""
        settings = settings_text(key.settings)
        with database_errors(self._path), transaction(self._database):
            number = self._find(
                "probe",
                model=self._find("model", **key.model._asdict()),
                machine=self._find("machine", **key.machine._asdict()),
                name=key.name,
                settings=settings,
                items_sha256=key.items_sha256,
                unit=key.unit,
            )
        return ProbeScores(self._path, self._database, number)

    def known_probe_scores(self, key: ProbeKey) -> ProbeScores | None:
        """The scores of a probe, where there are any."""
        values = (
            *(key.name, key.items_sha256, key.unit, settings_text(key.settings)),
            *(*key.model, *key.machine),
        )
        with database_errors(self._path):
            found = self._database.execute(_KNOWN_PROBE, values).fetchone()
        return None if found is None else ProbeScores(self._path, self._database, found[0])

    @property
    def searches(self) -> SearchTable:
        """The searches that have begun."""
        return SearchTable(self._path, self._database)

    def answers(self, key: EvaluationKey) -> KeptAnswers:
        """The answers of an evaluation, found or made. Raises as `measurement`."""
        with database_errors(self._path), transaction(self._database):
            number = self._find(
                "evaluation",
                model=self._find("model", **key.model._asdict()),
                machine=self._find("machine", **key.machine._asdict()),
                settings=_as_json(key.settings),
            )
        return KeptAnswers(self._path, self._database, number)

    def _find(self, table: str, **values: str | int) -> int:
        """The id of the row with these values, found or made."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        where = " AND ".join(f"{name} = ?" for name in values)
        row = tuple(values.values())
        self._database.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", row)
        found = self._database.execute(f"SELECT id FROM {table} WHERE {where}", row)
        return int(found.fetchone()[0])


@contextmanager
def readable_store(path: Path) -> Iterator[Store]:
    """The store at `path`, to be read: a copy in memory where the file cannot be written.

    Raises as `opened_store`.
    """
    opened = opened_database if is_writable(path) else copied_database
    with ExitStack() as stack:
        try:
            database = stack.enter_context(opened(path, BUSY_SECONDS))
        except (RefusedError, UsageError) as error:
            if error.hint == NEW_FILE:
                error.state, error.hint = "", READ_ANOTHER
            raise
        yield Store(path, database)


@contextmanager
def opened_store(path: Path, busy_seconds: float = BUSY_SECONDS) -> Iterator[Store]:
    """The store at `path`, made if there is none.

    Raises RefusedError when the file is something else, is damaged or has another schema; it is
    left untouched. Raises UsageError when it is not a regular file, WriteFailedError when it cannot
    be opened or made.
    """
    with opened_database(path, busy_seconds) as database:
        yield Store(path, database)


def _as_json(value: Mapping[str, Any] | None) -> str:
    """One text for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, allow_nan=False)
