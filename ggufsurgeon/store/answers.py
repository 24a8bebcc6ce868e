"""Answers of a model to requests, by layer path and by the digest of the request."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.store.database import damaged, database_errors, transaction
from ggufsurgeon.store.fingerprint import ModelFingerprint
from ggufsurgeon.store.machine import Machine


@dataclass(frozen=True)
class EvaluationKey:
    """All that answers depend on but layer path and request. `settings` are JSON's types."""

    model: ModelFingerprint
    machine: Machine
    settings: Mapping[str, Any] = field(default_factory=dict)


class KeptAnswer(NamedTuple):
    """An answer along a layer path."""

    layer_path: str
    request_sha256: str
    """In hex, of all that was asked."""
    values: tuple[Any, ...]
    """JSON's types: numbers, texts, booleans, and None for what is no finite number."""


class KeptAnswers:
    """The answers of one evaluation. Made by `Store.answers`.

    Several processes may add at once: of two answers to one request the first stays.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, number: int) -> None:
        self._path = path
        self._database = database
        self._number = number

    def along(self, layer_path: str) -> dict[str, tuple[Any, ...]]:
        """The values of all answers along a layer path, by the SHA-256 of the request in hex.

        Raises RefusedError for what is not what was written.
        """
        query = "SELECT request, answer FROM answer WHERE evaluation = ? AND layer_path = ?"
        with database_errors(self._path):
            rows = self._database.execute(query, (self._number, layer_path)).fetchall()
        try:
            return {bytes(request).hex(): tuple(json.loads(answer)) for request, answer in rows}
        except (TypeError, ValueError):
            raise self.damaged() from None

    def add(self, answers: Iterable[KeptAnswer]) -> None:
        """Commit answers, all or none. Raises StoreWriteError when the file takes no more."""
        rows = [
            (self._number, one.layer_path, bytes.fromhex(one.request_sha256), _as_json(one.values))
            for one in answers
        ]
        with database_errors(self._path), transaction(self._database):
            self._database.executemany("INSERT OR IGNORE INTO answer VALUES (?,?,?,?)", rows)

    def damaged(self) -> RefusedError:
        """The error for an answer that is not what was written."""
        return damaged(self._path, "an answer is not what was written")


def _as_json(values: tuple[Any, ...]) -> str:
    """In ASCII, since a generated text may hold what is no valid UTF-8."""
    return json.dumps(values, allow_nan=False)
