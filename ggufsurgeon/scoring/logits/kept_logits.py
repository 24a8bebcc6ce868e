"""The logits of a reference for some chunks, kept while other layer paths are scored.

In memory up to a limit, beyond it in a temporary file that is mapped into memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Protocol

import numpy as np

from ggufsurgeon.engine.context import Results
from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.llama_perplexity.logits_rows import BaseRows
from ggufsurgeon.scoring.logits.rows import LogitRows

LIMIT_N_BYTES = 1 << 30
"""Bytes of logits kept in memory."""


class ReferenceRows(Protocol):
    """Gives the rows of a reference for scored tokens: of `KeptLogits`, or of a logits file."""

    def rows(self, chunk: int, first: int, n: int) -> BaseRows:
        """The rows of `n` scored tokens of a chunk, from `first` on, in any thread."""


class KeptLogits:
    """Logits [n_chunks, n_scored, n_vocab] of consecutive chunks. Made by `opened_kept_logits`."""

    def __init__(self, values: Results) -> None:
        self._values = values
        self._first_chunk = 0

    def begin(self, first_chunk: int) -> None:
        """Keep the chunks from `first_chunk` on, instead of those before."""
        self._first_chunk = first_chunk

    def put(self, rows: Iterable[LogitRows]) -> None:
        """Copy the logits of some positions."""
        for chunk, first, targets, logits in rows:
            self._values[chunk - self._first_chunk, first : first + len(targets)] = logits

    def rows(self, chunk: int, first: int, n: int) -> BaseRows:
        """The logits of `n` scored tokens of a chunk from `first` on, which were put here."""
        rows = self._values[chunk - self._first_chunk, first : first + n]
        return BaseRows(rows, rows.shape[1])


@contextmanager
def opened_kept_logits(
    n_chunks: int, n_scored: int, n_vocab: int, limit_n_bytes: int | None = None
) -> Iterator[KeptLogits]:
    """Room for the logits of `n_chunks` chunks, in a file beyond `limit_n_bytes` (1 GiB).

    Raises WriteFailedError when the folder for temporary files has no room.
    """
    shape = (n_chunks, n_scored, n_vocab)
    n_bytes = 4 * n_chunks * n_scored * n_vocab
    if n_bytes <= (LIMIT_N_BYTES if limit_n_bytes is None else limit_n_bytes):
        yield KeptLogits(np.empty(shape, dtype=np.float32))
        return
    with tempfile.TemporaryFile() as file:
        _reserve(file, n_bytes)
        yield KeptLogits(np.memmap(file, dtype=np.float32, shape=shape))


def _reserve(file: IO[bytes], n_bytes: int) -> None:
    """Reserve the room at once: a full disk found by a mapped write would end the process."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        else:
            file.truncate(n_bytes)
    except OSError as error:
        raise WriteFailedError(
            f"the logits of the reference need {n_bytes:,} bytes in {tempfile.gettempdir()}: "
            f"{error.strerror}",
            hint="Set TMPDIR to a folder with more room, or use a smaller context or batch.",
        ) from None
