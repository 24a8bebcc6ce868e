"""The scores of a scan: of each item of a probe, along each layer path."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.store.database import damaged, database_errors, passing_transaction, transaction
from ggufsurgeon.store.fingerprint import ModelFingerprint
from ggufsurgeon.store.lease_owner import is_alive
from ggufsurgeon.store.machine import Machine

LARGEST_SCORE = 1e150
"""Of greater scores, squares of differences are no numbers."""
INFINITIES = (math.inf, -math.inf)
"""Scores that earlier versions kept."""
_LEASE = "probe = ? AND first_item = ? AND first_path = ?"


class ScannedModel(NamedTuple):
    """What reports tell of a model."""

    file_name: str
    architecture: str
    n_blocks: int


class ScannedPath(NamedTuple):
    """A layer path that was asked for, and what is known of it without running it."""

    layer_path: str
    refusal: str
    """Why it cannot be run exactly; empty if it can."""
    not_writable: str
    """Why no file of it can be written; empty if one can."""
    n_blocks: int
    n_bytes_weights: int
    n_bytes_kv: int | None


class ScannedItem(NamedTuple):
    """An item of a probe."""

    label: str
    n_tokens: int


@dataclass(frozen=True)
class ProbeKey:
    """All that the scores of a probe depend on but the layer path. `settings` are JSON's types."""

    model: ModelFingerprint
    machine: Machine
    name: str
    items_sha256: str
    unit: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class ProbeScores:
    """The scores of one probe. Made by `Store.probe_scores` and `ScanTable.probes`."""

    def __init__(self, path: Path, database: sqlite3.Connection, number: int) -> None:
        self._path = path
        self._database = database
        self._number = number

    @property
    def number(self) -> int:
        """The number of the probe in the store."""
        return self._number

    @property
    def name(self) -> str:
        """The name of the probe."""
        return str(self._one("SELECT name FROM probe WHERE id = ?"))

    @property
    def unit(self) -> str:
        """The unit of a score."""
        return str(self._one("SELECT unit FROM probe WHERE id = ?"))

    @property
    def settings(self) -> dict[str, Any]:
        """What else the scores depend on."""
        return dict(json.loads(self._one("SELECT settings FROM probe WHERE id = ?")))

    def items(self) -> list[ScannedItem]:
        """The items, in order."""
        query = "SELECT label, n_tokens FROM item WHERE probe = ? ORDER BY number"
        return [ScannedItem(*row) for row in self._all(query)]

    def set_items(self, items: Sequence[ScannedItem]) -> None:
        """Keep the items of a probe that is new here."""
        rows = [
            (self._number, number, storable(item.label), item.n_tokens)
            for number, item in enumerate(items)
        ]
        with database_errors(self._path), transaction(self._database):
            self._database.executemany("INSERT OR IGNORE INTO item VALUES (?,?,?,?)", rows)

    def asked_paths(self) -> set[str]:
        """The layer paths that scans by this probe were asked for; of old stores none are known."""
        return {path for (path,) in self._all("SELECT layer_path FROM asked_path WHERE probe = ?")}

    def ask(self, layer_paths: Sequence[str], program: str) -> None:
        """Keep which paths are asked for, by which version of ggufsurgeon."""
        rows = [(self._number, path, program) for path in layer_paths]
        with database_errors(self._path), transaction(self._database):
            self._database.executemany("INSERT OR IGNORE INTO asked_path VALUES (?,?,?)", rows)

    def scores(self) -> dict[str, dict[int, float]]:
        """All scores, by layer path and item; NaN where they are not numbers.

        Raises RefusedError for what cannot be a score.
        """
        found: dict[str, dict[int, float]] = {}
        query = "SELECT layer_path, item, score FROM item_score WHERE probe = ?"
        for layer_path, item, score in self._all(query):
            if score is None or score in INFINITIES:
                score = math.nan
            elif type(score) is not float or abs(score) > LARGEST_SCORE:
                where = f"the score of item {item} along {layer_path}"
                raise damaged(self._path, f"{where} is {score!r}, which no scan gives")
            found.setdefault(layer_path, {})[item] = score
        return found

    def n_scores(self) -> int:
        """How many scores there are."""
        return int(self._one("SELECT count(*) FROM item_score WHERE probe = ?"))

    def scored_paths(self, item: int) -> set[str]:
        """The layer paths that have a score of an item."""
        query = "SELECT layer_path FROM item_score WHERE probe = ? AND item = ?"
        return {path for (path,) in self._all(query, item)}

    def add(self, layer_path: str, first_item: int, scores: Sequence[float]) -> None:
        """Commit the scores of consecutive items along a layer path, as `add_all`."""
        self.add_all([(layer_path, first_item, scores)])

    def add_all(self, found: Sequence[tuple[str, int, Sequence[float]]]) -> None:
        """Commit layer paths, the first of consecutive items, and their scores, all or none.

        NaN stands for a score that is no finite number. Scores that another process has added stay:
        they are the same. Raises StoreWriteError when the file takes no more.
        """
        rows = [  # SQLite keeps NaN as null
            (self._number, layer_path, first_item + n, score)
            for layer_path, first_item, scores in found
            for n, score in enumerate(scores)
        ]
        with database_errors(self._path), transaction(self._database):
            self._database.executemany("INSERT OR IGNORE INTO item_score VALUES (?,?,?,?)", rows)

    def claim(self, first_item: int, first_path: str, owner: str) -> bool:
        """Take the lease of a group of items and some paths, unless a process that lives has it."""
        key = (self._number, first_item, first_path)
        with database_errors(self._path), passing_transaction(self._database):
            found = self._database.execute(
                f"SELECT owner FROM lease WHERE {_LEASE}", key
            ).fetchone()
            if found is not None and found[0] != owner and is_alive(found[0]):
                return False
            self._database.execute("INSERT OR REPLACE INTO lease VALUES (?,?,?,?)", (*key, owner))
        return True

    def lease_owner(self, first_item: int, first_path: str) -> str | None:
        """The process that has a lease, as `this_owner` gives it; None where there is no lease."""
        query = f"SELECT owner FROM lease WHERE {_LEASE}"
        with database_errors(self._path):
            key = (self._number, first_item, first_path)
            found = self._database.execute(query, key).fetchone()
        return None if found is None else str(found[0])

    def release(self, parts: Iterable[tuple[int, str]], owner: str) -> None:
        """Give leases back, each by its first item and first layer path."""
        query = f"DELETE FROM lease WHERE {_LEASE} AND owner = ?"
        rows = [(self._number, *part, owner) for part in parts]
        with database_errors(self._path), passing_transaction(self._database):
            self._database.executemany(query, rows)

    def _one(self, query: str) -> Any:
        return self._all(query)[0][0]

    def _all(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        with database_errors(self._path):
            return self._database.execute(query, (self._number, *values)).fetchall()


class ScanTable:
    """The models, layer paths and probes of the scans in a store. Made by `Store.scans`."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    def models(self) -> dict[int, ScannedModel]:
        """The models that were scanned, by their number in the store."""
        query = "SELECT model, file_name, architecture, n_blocks FROM scanned_model ORDER BY model"
        with database_errors(self._path):
            return {number: ScannedModel(*row) for number, *row in self._database.execute(query)}

    def fingerprint(self, model: int) -> ModelFingerprint:
        """The fingerprint of a model."""
        query = "SELECT header_sha256, data_fingerprint, n_bytes FROM model WHERE id = ?"
        with database_errors(self._path):
            return ModelFingerprint(*self._database.execute(query, (model,)).fetchone())

    def content_sha256(self, model: int) -> str | None:
        """SHA-256 of the whole file of a model; None where nobody has asked for it."""
        query = "SELECT sha256 FROM model_content WHERE model = ?"
        with database_errors(self._path):
            found = self._database.execute(query, (model,)).fetchone()
        return None if found is None else str(found[0])

    def set_content(self, model: int, sha256: str) -> None:
        """Keep the SHA-256 of the whole file of a model.

        Raises RefusedError where the store has scores of another file with the same fingerprint.
        """
        query = "INSERT OR IGNORE INTO model_content VALUES (?,?)"
        with database_errors(self._path), transaction(self._database):
            self._database.execute(query, (model, sha256))
        if (known := self.content_sha256(model)) != sha256:
            raise RefusedError(
                f"{self._path}: it has scores of another file with the same header, size and "
                f"sample of weights: SHA-256 {known}, not {sha256}",
                hint="Choose another store.",
            )

    def paths(self, model: int) -> list[ScannedPath]:
        """The layer paths that were asked for, in order."""
        names = ", ".join(ScannedPath._fields)
        query = f"SELECT {names} FROM scanned_path WHERE model = ? ORDER BY rowid"
        with database_errors(self._path):
            return [ScannedPath(*row) for row in self._database.execute(query, (model,))]

    def probes(self, model: int) -> list[ProbeScores]:
        """The probes that have been run on a model."""
        query = "SELECT id FROM probe WHERE model = ? ORDER BY id"
        with database_errors(self._path):
            found = self._database.execute(query, (model,)).fetchall()
        return [ProbeScores(self._path, self._database, number) for (number,) in found]

    def add_model(self, number: int, model: ScannedModel, paths: Sequence[ScannedPath]) -> None:
        """Keep a model and the layer paths that are asked for."""
        rows = [(number, *path) for path in paths]
        texts = map(storable, (model.file_name, model.architecture))
        with database_errors(self._path), transaction(self._database):
            self._database.execute(
                "INSERT OR REPLACE INTO scanned_model VALUES (?,?,?,?)",
                (number, *texts, model.n_blocks),
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO scanned_path VALUES (?,?,?,?,?,?,?)", rows
            )


def settings_text(settings: Mapping[str, Any]) -> str:
    """One text for equal settings, whatever the order of their keys. Raises UsageError."""
    try:
        return json.dumps(settings, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"settings of a probe that JSON cannot express: {error}") from None


def storable(text: str) -> str:
    """The text with escapes for bytes that are not UTF-8 (in file names): SQLite refuses those."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
