"""The findings of a run's chunks, kept in a file so that a run that was broken off can go on.

JSON lines. The first says what was measured; each other holds the next chunks that were decoded
together, which is the first of them, and a CRC-32 of both. Of each chunk there are its losses in
nats, their sum, the sum of their squares and their number, and where there is a base what a
divergence from it is made of. Python writes floats so that they come back to the bit, so a run
that goes on ends with the figures of one that never stopped.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import numpy as np

from ggufsurgeon.errors import RefusedError, UsageError, WriteFailedError
from ggufsurgeon.statistics.scores import Compared, Findings

KIND = "ggufsurgeon perplexity"


class StoreWriteError(WriteFailedError):
    """A store takes no more."""

    state = "It holds what was found before; once it can grow, the same command goes on with it."


class Store:
    """What earlier runs found, and a file to which the next findings are added, if any."""

    def __init__(self, findings: Findings | None, file: IO[bytes] | None) -> None:
        self.findings = findings
        self._file = file
        self._n_chunks = 0 if findings is None else len(findings.losses)

    def add(self, findings: Findings) -> None:
        """Keep the next chunks. Raises WriteFailedError when the file takes no more."""
        if self._file is None:
            return
        chunks = [_as_json(findings, n) for n in range(len(findings.losses))]
        try:
            self._file.write(_line(self._n_chunks, chunks))
            self._file.flush()
        except OSError as error:
            raise StoreWriteError(f"{self._file.name}: {error.strerror}") from None
        self._n_chunks += len(chunks)


def _line(first: int, chunks: list[Any]) -> bytes:
    """Of a group of chunks, the first of which has this number."""
    checksum = crc32(json.dumps([first, chunks]).encode())
    return json.dumps({"first": first, "crc32": checksum, "chunks": chunks}).encode() + b"\n"


def _chunks_in(lines: Iterable[bytes]) -> list[Any]:
    """Of all groups. Raises ValueError when one is missing or not as it was written."""
    chunks: list[Any] = []
    for line in lines:
        group = json.loads(line)["chunks"]
        if _line(len(chunks), group) != line + b"\n":
            raise ValueError
        chunks += group
    return chunks


def _as_json(findings: Findings, n: int) -> dict[str, Any]:
    """Chunk n of the findings."""
    losses = findings.losses[n].tolist()
    told = {
        "sum": sum(losses),
        "squares": sum(loss * loss for loss in losses),
        "count": len(losses),
        "losses": losses,
    }
    if findings.base_losses is not None:
        told["base_losses"] = findings.base_losses[n].tolist()
    if findings.compared is not None:
        told["compared"] = [values[n].tolist() for values in findings.compared]
        told["type"] = str(findings.compared.losses.dtype)
    return told


def _as_findings(chunks: list[dict[str, Any]]) -> Findings | None:
    """The other way round. Raises ValueError, TypeError or KeyError for what are no chunks."""
    if not chunks:
        return None
    has_base, is_compared = "base_losses" in chunks[0], "compared" in chunks[0]
    return Findings(
        _array([chunk["losses"] for chunk in chunks], np.float64),
        _array([chunk["base_losses"] for chunk in chunks], np.float64) if has_base else None,
        _compared(chunks) if is_compared else None,
    )


def _compared(chunks: list[dict[str, Any]]) -> Compared:
    kind = {"float32": np.float32, "float64": np.float64}[chunks[0]["type"]]
    columns = zip(*(chunk["compared"] for chunk in chunks), strict=True)
    types = (kind, kind, np.float64, np.bool_)
    arrays = [_array(column, of) for column, of in zip(columns, types, strict=True)]
    return Compared(*arrays)


def _array(chunks: Iterable[Any], dtype: Any) -> Any:
    """[n_chunks, n_scored]."""
    array = np.array(list(chunks), dtype)
    if array.ndim != 2:
        raise ValueError
    return array


@contextmanager
def opened_store(path: Path | None, measured: dict[str, Any]) -> Iterator[Store]:
    """The store at `path`, new or with chunks in it; None keeps them in memory alone.

    `measured` is the identity of what is measured. Raises RefusedError when the file holds
    something else or is damaged, WriteFailedError when it cannot be opened, UsageError when
    another run has it or it is no regular file.
    """
    if path is None:
        yield Store(None, None)
        return
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: not a regular file", hint="Name a new file.")
        file = path.open("a+b")
    except OSError as error:
        raise WriteFailedError(f"{path}: cannot be opened: {error.strerror or error}") from None
    with file:
        _lock(path, file)
        file.seek(0)
        findings = _read(path, file, {"kind": KIND, **measured})
        yield Store(findings, file)


def _lock(path: Path, file: IO[bytes]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"{path}: in use by another run, or of a kind without locks") from None


def _read(path: Path, file: IO[bytes], expected: dict[str, Any]) -> Findings | None:
    """The findings in the file, which then ends behind the last whole one."""
    lines = file.read().split(b"\n")
    whole = lines[:-1]  # what follows the last newline was broken off
    first = json.dumps(expected).encode()
    if not whole and first.startswith(lines[0]):
        file.truncate(0)
        file.write(first + b"\n")
        file.flush()
        return None
    _check_same(path, whole[:1], expected)
    try:
        findings = _as_findings(_chunks_in(whole[1:]))
    except (ValueError, TypeError, KeyError):
        problem = f"{path}: a line of it is missing, or is not what was written"
        raise RefusedError(problem, hint="Name a new file.") from None
    file.truncate(sum(len(line) + 1 for line in whole))
    return findings


def _check_same(path: Path, first: list[bytes], expected: dict[str, Any]) -> None:
    try:
        found = json.loads(first[0])
        is_store = found["kind"] == KIND
    except (IndexError, ValueError, TypeError, KeyError):
        is_store = False
    if not is_store:
        raise RefusedError(f"{path}: not a checkpoint of ggufsurgeon", hint="Name a new file.")
    different = [key for key, value in expected.items() if found.get(key) != value]
    if different:
        raise RefusedError(
            f"{path}: it holds another measurement: {', '.join(different)} differ",
            hint="Name a new file, or measure the same again.",
        )
