"""The tables of a store. SQLite keeps this text, comments included: `.schema` shows it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

APPLICATION_ID = 0x67677375
"""`ggsu`, in the header of the file (PRAGMA application_id, sqlite.org/fileformat2.html)."""
VERSION = 5
"""PRAGMA user_version. It grows whenever an older program could misread the tables. Stores of
earlier versions have fewer tables; the others are added to them."""

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
    """CREATE TABLE scanned_model (
    model INTEGER PRIMARY KEY REFERENCES model (id),
    file_name TEXT NOT NULL,    -- without its folder
    architecture TEXT NOT NULL, -- general.architecture
    n_blocks INTEGER NOT NULL   -- those that layer paths name
)""",
    """CREATE TABLE scanned_path (
    model INTEGER NOT NULL REFERENCES model (id),
    layer_path TEXT NOT NULL,    -- in full, such as 0..16,10..29; all blocks for the model itself
    refusal TEXT NOT NULL,       -- why it cannot be run exactly; empty if it can
    not_writable TEXT NOT NULL,  -- why no file of it can be written; empty if one can
    n_blocks INTEGER NOT NULL,   -- more than the model has
    n_bytes_weights INTEGER NOT NULL, -- more than the model's, in a written file
    n_bytes_kv INTEGER,          -- more for 4096 tokens in f16; null where it is not known
    PRIMARY KEY (model, layer_path)
)""",
    """CREATE TABLE probe (
    id INTEGER PRIMARY KEY,
    model INTEGER NOT NULL REFERENCES model (id),
    machine INTEGER NOT NULL REFERENCES machine (id),
    name TEXT NOT NULL,
    settings TEXT NOT NULL,     -- JSON: all else that the scores depend on, devices among it
    items_sha256 TEXT NOT NULL, -- of the tokens of all items, and of what is scored
    unit TEXT NOT NULL,         -- of a score; higher is better
    UNIQUE (model, machine, name, settings, items_sha256)
)""",
    """CREATE TABLE item (
    probe INTEGER NOT NULL REFERENCES probe (id),
    number INTEGER NOT NULL, -- from 0
    label TEXT NOT NULL,
    n_tokens INTEGER NOT NULL,
    PRIMARY KEY (probe, number)
)""",
    """CREATE TABLE item_score (
    probe INTEGER NOT NULL REFERENCES probe (id),
    layer_path TEXT NOT NULL, -- as in scanned_path
    item INTEGER NOT NULL,    -- its number
    score REAL,               -- null where it is not a finite number
    PRIMARY KEY (probe, layer_path, item)
) WITHOUT ROWID""",
    """CREATE TABLE lease (
    probe INTEGER NOT NULL REFERENCES probe (id),
    first_item INTEGER NOT NULL, -- of the group of items that a process works on
    first_path TEXT NOT NULL,    -- of the layer paths along which it does
    owner TEXT NOT NULL,         -- JSON: host, process id and its start, as long as it lives
    PRIMARY KEY (probe, first_item, first_path)
)""",
    """CREATE TABLE model_content (
    model INTEGER PRIMARY KEY REFERENCES model (id),
    sha256 TEXT NOT NULL -- of the whole file, where a scan was asked to compute it
)""",
    """CREATE TABLE asked_path (
    probe INTEGER NOT NULL REFERENCES probe (id),
    layer_path TEXT NOT NULL, -- that a scan by this probe was asked for, as in scanned_path
    program TEXT NOT NULL,    -- version of ggufsurgeon that was asked first
    PRIMARY KEY (probe, layer_path)
) WITHOUT ROWID""",
    """CREATE TABLE evaluation (
    id INTEGER PRIMARY KEY,
    model INTEGER NOT NULL REFERENCES model (id),
    machine INTEGER NOT NULL REFERENCES machine (id),
    settings TEXT NOT NULL, -- JSON: all else that answers depend on, but layer path and request
    UNIQUE (model, machine, settings)
)""",
    """CREATE TABLE answer (
    evaluation INTEGER NOT NULL REFERENCES evaluation (id),
    layer_path TEXT NOT NULL, -- in full, such as 0..16,10..29; all blocks for the model itself
    request BLOB NOT NULL,    -- SHA-256 of what was asked: prompt, continuation, stops, tokens
    answer TEXT NOT NULL,     -- JSON list: log-likelihood (null: not finite), whether greedy,
                              -- tokens cut; or text, tokens, whether at the limit, tokens cut
    PRIMARY KEY (evaluation, layer_path, request)
) WITHOUT ROWID""",
    """CREATE TABLE search (
    id INTEGER PRIMARY KEY,
    probe INTEGER NOT NULL REFERENCES probe (id), -- of the search, with the items in its order
    scan INTEGER NOT NULL REFERENCES probe (id),  -- of the scan whose windows it composes
    settings TEXT NOT NULL,    -- JSON: its limits, and the layer paths of these windows
    n_bytes_read INTEGER NOT NULL, -- weights of the model that each token is multiplied by
    program TEXT NOT NULL,     -- version of ggufsurgeon
    UNIQUE (probe, scan, settings)
)""",
)
N_TABLES = {1: 5, 2: 11, 3: 13, 4: 15, VERSION: len(TABLES)}
"""How many of the tables a store of each version has."""


def tables(database: sqlite3.Connection) -> dict[str, str]:
    """The SQL of each table of a database, by name."""
    return dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))


def expected_tables() -> dict[str, str]:
    """The SQL of each table of a store, as SQLite keeps it."""
    with closing(sqlite3.connect(":memory:")) as database:
        for statement in TABLES:
            database.execute(statement)
        return tables(database)
