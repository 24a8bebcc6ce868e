"""The tables of a store. SQLite keeps this text, comments included: `.schema` shows it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

APPLICATION_ID = 0x67677375
"""`ggsu`, in the header of the file (PRAGMA application_id, sqlite.org/fileformat2.html)."""
VERSION = 1
"""PRAGMA user_version. It grows whenever an older program could misread the tables."""

TABLES = (
    """CREATE TABLE model (
    id INTEGER PRIMARY KEY,
    header_sha256 TEXT NOT NULL,    -- SHA-256 of all that precedes the tensor data
    data_fingerprint TEXT NOT NULL, -- SHA-256 of a sample of the tensor data: 64 pieces of 4 KiB
    n_bytes INTEGER NOT NULL,       -- size of the file
    UNIQUE (header_sha256, data_fingerprint, n_bytes)
)""",
    """CREATE TABLE text (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    n_bytes INTEGER NOT NULL
)""",
    """CREATE TABLE machine (
    id INTEGER PRIMARY KEY,
    engine TEXT NOT NULL, -- llama-cpp-python's version, llama.cpp's build and CPU features
    cpu TEXT NOT NULL,    -- model of the CPU
    gpus TEXT NOT NULL,   -- JSON list of the names of the GPUs that llama.cpp sees
    UNIQUE (engine, cpu, gpus)
)""",
    """CREATE TABLE measurement (
    id INTEGER PRIMARY KEY,
    model INTEGER NOT NULL REFERENCES model (id),
    text INTEGER NOT NULL REFERENCES text (id),
    machine INTEGER NOT NULL REFERENCES machine (id),
    reference TEXT NOT NULL, -- JSON: what the model is compared with, or null
    settings TEXT NOT NULL,  -- JSON: all else that the scores depend on, but the layer path
    UNIQUE (model, text, machine, reference, settings)
)""",
    """CREATE TABLE scores (
    measurement INTEGER NOT NULL REFERENCES measurement (id),
    layer_path TEXT NOT NULL,     -- such as 0..6,4..29; empty for the model as its file has it
    first_chunk INTEGER NOT NULL, -- of the text, from 0
    name TEXT NOT NULL,           -- of the array
    dtype TEXT NOT NULL,          -- NumPy's, little-endian: <f8 is a 64-bit float
    shape TEXT NOT NULL,          -- JSON list; its first number counts chunks
    data BLOB NOT NULL,           -- the array in C order
    PRIMARY KEY (measurement, layer_path, first_chunk, name)
)""",
)


def tables(database: sqlite3.Connection) -> dict[str, str]:
    """The SQL of each table of a database, by name."""
    return dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))


def expected_tables() -> dict[str, str]:
    """The SQL of each table of a store, as SQLite keeps it."""
    with closing(sqlite3.connect(":memory:")) as database:
        for statement in TABLES:
            database.execute(statement)
        return tables(database)
