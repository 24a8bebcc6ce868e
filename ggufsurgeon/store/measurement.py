"""Named arrays of scores, by layer path and chunk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import UsageError
from ggufsurgeon.store.database import damaged, database_errors, transaction
from ggufsurgeon.store.fingerprint import ModelFingerprint, TextFingerprint
from ggufsurgeon.store.machine import Machine

Arrays: TypeAlias = "dict[str, npt.NDArray[Any]]"
"""Scores by name. The first axis of each array counts chunks."""


@dataclass(frozen=True)
class MeasurementKey:
    """All that scores depend on but the layer path. `settings` and `reference` are JSON's types."""

    model: ModelFingerprint
    text: TextFingerprint
    machine: Machine
    settings: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] | None = None
    """What the model is compared with, if anything."""


class Measurement:
    """The scores of one measurement, along any layer paths. Made by `Store.measurement`."""

    def __init__(self, path: Path, database: sqlite3.Connection, number: int) -> None:
        self._path = path
        self._database = database
        self._number = number

    def arrays(self, layer_path: str) -> Arrays:
        """All scores along a layer path, of chunks 0 to N without a gap; empty if there are none.

        Raises RefusedError when scores are missing or are not what was written.
        """
        groups: dict[int, Arrays] = {}
        query = "SELECT first_chunk, name, dtype, shape, data FROM scores "
        query += "WHERE measurement = ? AND layer_path = ? ORDER BY first_chunk, name"
        with database_errors(self._path):
            for first, name, *array in self._database.execute(query, (self._number, layer_path)):
                groups.setdefault(first, {})[name] = self._decode(*array)
        self._check_order(groups)
        names = next(iter(groups.values()), {})
        return {name: np.concatenate([group[name] for group in groups.values()]) for name in names}

    def add(
        self, layer_path: str, first_chunk: int, arrays: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Commit the scores of the chunks from `first_chunk` on: all of these arrays or none.

        Raises UsageError when another run has added them, StoreWriteError when the file takes no
        more.
        """
        rows = []
        for name, array in arrays.items():
            ours = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            key = (self._number, layer_path, first_chunk, name)
            rows.append((*key, ours.dtype.str, json.dumps(ours.shape), ours.data))
        with database_errors(self._path), transaction(self._database):
            try:
                self._database.executemany("INSERT INTO scores VALUES (?,?,?,?,?,?,?)", rows)
            except sqlite3.IntegrityError:
                raise UsageError(
                    f"{self._path}: in use by another run of the same measurement",
                    hint="Wait for it to end; the same command then resumes from the store.",
                ) from None

    def _decode(self, dtype: str, shape: str, data: bytes) -> npt.NDArray[Any]:
        problem = damaged(self._path, "an array is not what was written")
        try:
            # np.frombuffer takes no empty buffer, and refuses types that hold pointers.
            flat = np.frombuffer(data, np.dtype(dtype)) if data else np.empty(0, np.dtype(dtype))
            expected = tuple(json.loads(shape))
            array = flat.reshape(expected)
        except (TypeError, ValueError):
            raise problem from None
        if array.shape != expected:  # a -1 would have taken any length
            raise problem
        return array

    def _check_order(self, groups: Mapping[int, Arrays]) -> None:
        """Raise RefusedError unless each group follows the one before, with the same arrays."""
        names = next(iter(groups.values()), {}).keys()
        expected = 0
        for first, group in groups.items():
            lengths = {len(array) for array in group.values()}
            if first != expected or group.keys() != names or len(lengths) != 1:
                raise damaged(self._path, f"scores of chunk {expected} are missing")
            expected += lengths.pop()
