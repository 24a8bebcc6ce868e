"""The SQLite file of a store: opening, recognition, and errors.

A file that is no store is never opened for writing: even a look at another program's database
would take in its write-ahead log.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ggufsurgeon.errors import RefusedError, UsageError, WriteFailedError
from ggufsurgeon.store.schema import (
    APPLICATION_ID,
    N_TABLES,
    TABLES,
    VERSION,
    expected_tables,
    tables,
)

CHECKPOINT_MAGIC = b'{"kind": "ggufsurgeon perplexity"'
"""How the checkpoints of earlier versions began: they were JSON lines."""
NEW_FILE = "Name a new file."


class StoreWriteError(WriteFailedError):
    """A store cannot be written to."""

    state = "It holds what was found before; once it can grow, the same command resumes from it."


@contextmanager
def opened_database(path: Path, busy_seconds: float) -> Iterator[sqlite3.Connection]:
    """The store at `path`, made if there is none, without open transactions.

    A write waits `busy_seconds` for other processes that write. Raises RefusedError when the file
    is not a store, is damaged or has another schema; UsageError when it is not a regular file;
    WriteFailedError when it cannot be opened. What is refused is left untouched.
    """
    folder = path.absolute().parent
    try:
        if path.exists():
            _check_kind(path)
        elif not folder.exists():
            raise WriteFailedError(
                f"{path}: cannot be opened: the folder {folder} does not exist",
                hint="Make it first: mkdir -p.",
            )
        # Absolute, because SQLite gives names such as ":memory:" a meaning of their own.
        place = path.absolute()
        database = sqlite3.connect(place, timeout=busy_seconds, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise WriteFailedError(f"{path}: cannot be opened: {reason}") from None
    with closing(database):
        with database_errors(path):
            _prepare(path, database)
        yield database


def is_writable(path: Path) -> bool:
    """Whether a store can be opened in place: SQLite writes beside the file even to read it."""
    return os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)


@contextmanager
def copied_database(path: Path, _busy_seconds: float) -> Iterator[sqlite3.Connection]:
    """A copy in memory of the store at `path`, which cannot be written, without open transactions.

    Raises as `opened_database`.
    """
    try:
        _check_kind(path)
        uri = f"{path.absolute().as_uri()}?immutable=1"
        database = sqlite3.connect(":memory:", isolation_level=None)
        with closing(sqlite3.connect(uri, uri=True)) as file, database_errors(path):
            file.backup(database)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: cannot be read: {reason}") from None
    with closing(database):
        with database_errors(path):
            _prepare(path, database)
        yield database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Commits at the end, or takes everything back when an exception leaves it."""
    database.execute("BEGIN IMMEDIATE")
    with database:
        yield


@contextmanager
def passing_transaction(database: sqlite3.Connection) -> Iterator[None]:
    """As `transaction`, for what need not outlive a power cut: the disk is not waited for.

    A process that is killed loses nothing by it (sqlite.org/pragma.html, synchronous).
    """
    database.execute("PRAGMA synchronous = NORMAL")
    try:
        with transaction(database):
            yield
    finally:
        database.execute("PRAGMA synchronous = FULL")


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into StoreWriteError, and those of damage into RefusedError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error) == "database is locked":
            raise StoreWriteError(
                f"{path}: another process keeps it locked",
                hint="Wait for that process to end, and run the same command again.",
            ) from None
        raise StoreWriteError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from None


def damaged(path: Path, problem: str) -> RefusedError:
    """The error for a store whose content is not what was written."""
    return RefusedError(f"{path}: a damaged store: {problem}", hint=NEW_FILE)


def _check_kind(path: Path) -> None:
    """Raise RefusedError unless the file is empty or a store of this schema. It is only read."""
    if not path.is_file():
        raise UsageError(f"{path}: not a regular file", hint=NEW_FILE)
    # Immutable: neither locks nor the write-ahead log are touched. SQLite itself reads the header,
    # because closing a file takes away all locks that this process has on it.
    uri = f"{path.absolute().as_uri()}?immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            # A store whose log was half taken in, when the disk was full or the process was
            # killed, is shorter than its header says: the log has the rest.
            database.execute("PRAGMA writable_schema = ON")
            is_empty = _pragma(database, "page_count") == 0
            application_id = _pragma(database, "application_id")
            version = _pragma(database, "user_version")
    except sqlite3.DatabaseError:
        raise RefusedError(f"{path}: {_describe(path)}", hint=NEW_FILE) from None
    if is_empty:
        return
    if application_id != APPLICATION_ID:
        raise RefusedError(f"{path}: a database of another program", hint=NEW_FILE)
    _check_version(path, version)


def _describe(path: Path) -> str:
    """A description of a file that SQLite cannot read."""
    with path.open("rb") as file:
        begin = file.read(len(CHECKPOINT_MAGIC))
    if begin == CHECKPOINT_MAGIC:
        return (
            "a checkpoint of an earlier version of ggufsurgeon, which did not record the CPU and "
            "the build of llama.cpp that its figures depend on: they have to be measured again"
        )
    return "not a store of ggufsurgeon, or damaged"


def _check_version(path: Path, version: int) -> None:
    if not 1 <= version <= VERSION:
        age = "a newer" if version > VERSION else "another"
        raise RefusedError(
            f"{path}: a store of {age} version of ggufsurgeon (schema {version}; this version "
            f"reads schemas 1 to {VERSION})",
            hint=NEW_FILE,
        )


def _prepare(path: Path, database: sqlite3.Connection) -> None:
    """Make the tables of a new store, or check those of an old one.

    The file gets its write-ahead log only after its tables: its header then names it a store from
    the first commit on, whenever the process is killed.
    """
    if not tables(database):
        with transaction(database):
            if not tables(database):  # another process may have been quicker
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {VERSION}")
                for statement in TABLES:
                    database.execute(statement)
    _check_version(path, _pragma(database, "user_version"))
    _migrate(database)
    with suppress(sqlite3.OperationalError):  # a process that opens it at this moment does it
        database.execute("PRAGMA journal_mode = WAL")
    problem = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise damaged(path, problem.splitlines()[-1])
    if not expected_tables().items() <= tables(database).items():
        raise damaged(path, "tables are missing or changed")


def _migrate(database: sqlite3.Connection) -> None:
    """Add the tables that a store of an earlier version lacks, in one transaction."""
    if _pragma(database, "user_version") == VERSION:
        return
    with transaction(database):
        version = _pragma(database, "user_version")
        if version < VERSION:  # another process may have been quicker
            for statement in TABLES[N_TABLES[version] :]:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])
