"""The tables of a store, and what tells a store from another file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ggufsurgeon.errors import RefusedError

APPLICATION_ID = 0x67677375
"""`ggsu`, in the header of the file (PRAGMA application_id, sqlite.org/fileformat2.html)."""
VERSION = 1
"""PRAGMA user_version. It grows when older versions of the program could misread the tables."""
SQLITE_MAGIC = b"SQLite format 3\0"
EARLIER_MAGIC = b'{"kind": "ggufsurgeon perplexity"'
"""How the JSON lines of earlier versions began."""
HINT = "Name a new file."

TABLES = """
CREATE TABLE measurement (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE -- all that its scores depend on but the layer path, as JSON
);
CREATE TABLE scores (
    measurement INTEGER NOT NULL REFERENCES measurement (id),
    layer_path TEXT NOT NULL, -- empty for the model as it is, run without routing
    first_chunk INTEGER NOT NULL,
    name TEXT NOT NULL,
    dtype TEXT NOT NULL, -- numpy's, little-endian
    n_chunks INTEGER NOT NULL,
    n_scored INTEGER NOT NULL,
    data BLOB NOT NULL, -- the array [n_chunks, n_scored]
    PRIMARY KEY (measurement, layer_path, first_chunk, name)
);
"""


def check_content(path: Path) -> None:
    """Raise RefusedError when the file at `path` is there and not a database. It is only read."""
    with path.open("rb") as file:
        begin = file.read(len(EARLIER_MAGIC))
    if begin.startswith(EARLIER_MAGIC):
        raise RefusedError(
            f"{path}: a checkpoint of an earlier version, which kept JSON lines and did not record "
            "the CPU that rounded the figures",
            hint="Name a new file, and measure again.",
        )
    if begin and not begin.startswith(SQLITE_MAGIC):
        raise RefusedError(f"{path}: not a store of ggufsurgeon", hint=HINT)


def prepare(path: Path, database: sqlite3.Connection) -> None:
    """Make the tables of a new store. Raises RefusedError for another program's database."""
    application_id = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if application_id == APPLICATION_ID and version > VERSION:
        raise RefusedError(f"{path}: a store of a newer version of ggufsurgeon", hint=HINT)
    if application_id == APPLICATION_ID:
        return
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise RefusedError(f"{path}: a database of another program", hint=HINT)
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        f"{TABLES} COMMIT;"
    )
