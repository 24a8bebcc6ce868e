"""The searches that a store knows: which probe, from which scan, and how far they may go."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ggufsurgeon.store.database import database_errors, transaction
from ggufsurgeon.store.scan_scores import ProbeScores, settings_text


class KeptSearch(NamedTuple):
    """A search that has begun."""

    number: int
    """Its number in the store."""
    model: int
    """The number of its model."""
    scores: ProbeScores
    """Of the probe of the search, with the items in its order."""
    scan: ProbeScores
    """Of the scan whose windows it composes."""
    settings: dict[str, Any]
    n_bytes_read: int
    """Weights of the model that each token is multiplied by."""


class SearchTable:
    """The searches of all models. Made by `Store.searches`."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    def add(
        self,
        probe: ProbeScores,
        scan: ProbeScores,
        settings: Mapping[str, Any],
        n_bytes_read: int,
        program: str,
    ) -> int:
        """Keep that a search has begun, and return its number: one with the same settings is the
        same search."""
        names = "probe, scan, settings, n_bytes_read, program"
        row = (probe.number, scan.number, settings_text(settings), n_bytes_read, program)
        with database_errors(self._path), transaction(self._database):
            self._database.execute(
                f"INSERT OR IGNORE INTO search ({names}) VALUES (?,?,?,?,?)", row
            )
            query = "SELECT id FROM search WHERE probe = ? AND scan = ? AND settings = ?"
            return int(self._database.execute(query, row[:3]).fetchone()[0])

    def all(self) -> list[KeptSearch]:
        """The searches, in the order in which they began."""
        query = (
            "SELECT search.id, model, probe, scan, search.settings, n_bytes_read FROM search "
            "JOIN probe ON probe.id = search.probe ORDER BY search.id"
        )
        with database_errors(self._path):
            found = self._database.execute(query).fetchall()
        return [
            KeptSearch(number, model, self._scores(probe), self._scores(scan), json.loads(text), n)
            for number, model, probe, scan, text, n in found
        ]

    def _scores(self, probe: int) -> ProbeScores:
        return ProbeScores(self._path, self._database, probe)
