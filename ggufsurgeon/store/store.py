"""A store: named arrays of scores by measurement, layer path and chunk.

What is added is committed at once, so that a run that is killed goes on where it was. Scores are
kept as the bytes of their arrays, and come back to the bit.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import RefusedError, UsageError, WriteFailedError
from ggufsurgeon.store.schema import HINT, check_content, prepare

Arrays: TypeAlias = "dict[str, npt.NDArray[Any]]"
"""By name, each [n_chunks, n_scored]."""
BUSY_SECONDS = 30.0
"""How long to wait for another process that writes to the same file."""


class StoreWriteError(WriteFailedError):
    """A store takes no more."""

    state = "It holds what was found before; once it can grow, the same command resumes from it."


class Measurement:
    """The scores of one measurement along one layer path. Made by `Store.measurement`."""

    def __init__(
        self, path: Path, database: sqlite3.Connection, number: int, layer_path: str
    ) -> None:
        self._path = path
        self._database = database
        self._key = (number, layer_path)

    def arrays(self) -> Arrays:
        """All scores so far, from chunk 0 on without a gap; empty when there are none.

        Raises RefusedError when the file is damaged.
        """
        groups: dict[int, Arrays] = {}
        query = "SELECT first_chunk, name, dtype, n_chunks, n_scored, data FROM scores "
        query += "WHERE measurement = ? AND layer_path = ? ORDER BY first_chunk, name"
        with _errors(self._path):
            for first, name, dtype, *shape, data in self._database.execute(query, self._key):
                groups.setdefault(first, {})[name] = self._array(dtype, shape, data)
        self._check_order(groups)
        names = next(iter(groups.values()), {})
        return {name: np.concatenate([group[name] for group in groups.values()]) for name in names}

    def add(self, first_chunk: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep the scores of the chunks from `first_chunk` on, each array [n_chunks, n_scored].

        Raises UsageError when another run has added these chunks, StoreWriteError when the file
        takes no more.
        """
        rows = []
        for name, array in arrays.items():
            ours = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            rows.append((*self._key, first_chunk, name, ours.dtype.str, *ours.shape, ours.data))
        try:
            with self._database:
                self._database.executemany("INSERT INTO scores VALUES (?,?,?,?,?,?,?,?)", rows)
        except sqlite3.IntegrityError:
            raise UsageError(
                f"{self._path}: in use by another run of the same measurement",
                hint="Wait for it to end; the same command then resumes from the store.",
            ) from None
        except sqlite3.Error as error:
            raise StoreWriteError(f"{self._path}: {error}") from None

    def _array(self, dtype: str, shape: list[int], data: bytes) -> npt.NDArray[Any]:
        try:
            return np.frombuffer(data, np.dtype(dtype)).reshape(shape)
        except (TypeError, ValueError):
            raise self._damaged() from None

    def _check_order(self, groups: Mapping[int, Arrays]) -> None:
        names = next(iter(groups.values()), {}).keys()
        expected = 0
        for first, group in groups.items():
            lengths = {len(array) for array in group.values()}
            if first != expected or group.keys() != names or len(lengths) != 1:
                raise self._damaged()
            expected += lengths.pop()

    def _damaged(self) -> RefusedError:
        return RefusedError(
            f"{self._path}: scores are missing, or are not what was written", hint=HINT
        )


class Store:
    """Made by `opened_store`. Several measurements, and several programs, may share one."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    def measurement(self, identity: Mapping[str, Any], layer_path: str) -> Measurement:
        """The scores of what `identity`, plain types, tells apart, along a path; found or new.

        Raises RefusedError when the file is damaged, StoreWriteError when it takes no more.
        """
        text = json.dumps(identity, sort_keys=True)
        with _errors(self._path), self._database:
            insert = "INSERT OR IGNORE INTO measurement (identity) VALUES (?)"
            self._database.execute(insert, (text,))
            select = "SELECT id FROM measurement WHERE identity = ?"
            number = self._database.execute(select, (text,)).fetchone()[0]
        return Measurement(self._path, self._database, number, layer_path)


@contextmanager
def opened_store(path: Path) -> Iterator[Store]:
    """The store at `path`, which may be new.

    Raises RefusedError when the file is something else, is damaged or is of another version,
    WriteFailedError when it cannot be opened, UsageError when it is no regular file.
    """
    try:
        if path.exists():
            if not path.is_file():
                raise UsageError(f"{path}: not a regular file", hint=HINT)
            check_content(path)
        database = sqlite3.connect(path, timeout=BUSY_SECONDS)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise WriteFailedError(f"{path}: cannot be opened: {reason}") from None
    with closing(database):
        with _errors(path):
            prepare(path, database)
        yield Store(path, database)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: what cannot be written, and what is damaged."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreWriteError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise RefusedError(f"{path}: damaged, or not a store: {error}", hint=HINT) from None
