"""The losses of a run's chunks, kept in a file so that a run that was broken off can go on.

JSON lines. The first says what was measured; each other holds the next chunks that were decoded
together, of each its losses in nats, their sum, the sum of their squares and their number.
Python writes floats so that they come back to the bit, so a run that goes on ends with the
figures of one that never stopped.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ggufsurgeon.errors import RefusedError, UsageError, WriteFailedError
from ggufsurgeon.measuring.perplexity import Losses

KIND = "ggufsurgeon perplexity"


class Store:
    """Chunks that are known, in order, and a file to which the next are added, if any."""

    def __init__(self, chunks: list[list[float]], file: IO[bytes] | None) -> None:
        self._parts: list[Losses] = [np.array(chunks)] if chunks else []
        self._file = file

    @property
    def losses(self) -> Losses | None:
        """Those of all chunks so far; None before the first."""
        return np.concatenate(self._parts) if self._parts else None

    def add(self, losses: Losses) -> None:
        """Keep the next chunks. Raises WriteFailedError when the file takes no more."""
        self._parts.append(losses)
        if self._file is None:
            return
        try:
            self._file.write(
                json.dumps([_summed(chunk) for chunk in losses.tolist()]).encode() + b"\n"
            )
            self._file.flush()
        except OSError as error:
            raise WriteFailedError(f"{self._file.name}: {error.strerror}") from None


def _summed(losses: list[float]) -> dict[str, Any]:
    squares = sum(loss * loss for loss in losses)
    return {"sum": sum(losses), "squares": squares, "count": len(losses), "losses": losses}


@contextmanager
def opened_store(path: Path | None, measured: dict[str, Any]) -> Iterator[Store]:
    """The store at `path`, new or with chunks in it; None keeps them in memory alone.

    `measured` names model, text and settings. Raises RefusedError when the file holds something
    else, UsageError when it cannot be opened.
    """
    if path is None:
        yield Store([], None)
        return
    try:
        file = path.open("a+b")
    except OSError as error:
        raise UsageError(f"{path}: cannot be opened: {error.strerror}") from None
    with file:
        _lock(path, file)
        file.seek(0)
        chunks = _read(path, file, {"kind": KIND, **measured})
        yield Store(chunks, file)


def _lock(path: Path, file: IO[bytes]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"{path}: in use by another run, or of a kind without locks") from None


def _read(path: Path, file: IO[bytes], expected: dict[str, Any]) -> list[list[float]]:
    """The chunks in the file, which then ends behind the last whole one."""
    lines = file.read().split(b"\n")
    whole = lines[:-1]  # what follows the last newline was broken off
    first = json.dumps(expected).encode()
    if not whole and first.startswith(lines[0]):
        file.truncate(0)
        file.write(first + b"\n")
        file.flush()
        return []
    _check_same(path, whole[:1], expected)
    try:
        chunks = [
            [float(loss) for loss in chunk["losses"]]
            for line in whole[1:]
            for chunk in json.loads(line)
        ]
    except (ValueError, TypeError, KeyError):
        raise RefusedError(f"{path}: a line of it is no chunk", hint="Name a new file.") from None
    if len({len(chunk) for chunk in chunks}) > 1:
        raise RefusedError(f"{path}: its chunks differ in length", hint="Name a new file.")
    file.truncate(sum(len(line) + 1 for line in whole))
    return chunks


def _check_same(path: Path, first: list[bytes], expected: dict[str, Any]) -> None:
    try:
        found = json.loads(first[0])
        is_store = found["kind"] == KIND
    except (IndexError, ValueError, TypeError, KeyError):
        is_store = False
    if not is_store:
        raise RefusedError(f"{path}: not a file of --store", hint="Name a new file.")
    different = [key for key, value in expected.items() if found.get(key) != value]
    if different:
        raise RefusedError(
            f"{path}: it holds another measurement: {', '.join(different)} differ",
            hint="Name a new file, or measure the same again.",
        )
