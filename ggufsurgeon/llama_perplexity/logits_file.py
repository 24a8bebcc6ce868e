"""The file of `llama-perplexity --kl-divergence-base`: the logits of a base model on a text.

`_logits_`, then 32-bit numbers of the context, the vocabulary and the chunks, the tokens of the
chunks as the text has them, and for each chunk its scored tokens' rows (logits_rows.py), all in
the machine's byte order (tools/perplexity/perplexity.cpp:458-526 in llama.cpp of 2026-10-01). The
second half of a chunk is scored, without its last token.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import MalformedFileError, UsageError, WriteFailedError
from ggufsurgeon.llama_perplexity.logits_rows import BaseRows, heads, n_values, quantised
from ggufsurgeon.llama_perplexity.softmax import Logits
from ggufsurgeon.writing.placement.preflight import n_free_bytes
from ggufsurgeon.writing.placement.reservation import check_size

MAGIC = b"_logits_"
HEAD = struct.Struct("=8siii")
HINT = "llama-perplexity and ggufsurgeon's perplexity save such files."
Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Shape:
    """The numbers in the header of a logits file; its size follows from them."""

    n_ctx: int
    n_vocab: int
    n_chunks: int

    @property
    def n_rows(self) -> int:
        """Scored tokens of a chunk."""
        return self.n_ctx - 1 - self.n_ctx // 2

    @property
    def row_n_bytes(self) -> int:
        """Bytes of a row."""
        return n_values(self.n_vocab) * np.dtype(np.uint16).itemsize

    @property
    def header_n_bytes(self) -> int:
        """Bytes of magic, numbers and tokens."""
        return HEAD.size + 4 * self.n_ctx * self.n_chunks

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole file."""
        return self.offset(self.n_chunks, 0)

    def offset(self, chunk: int, row: int) -> int:
        """The place of a row, in bytes from the beginning of the file."""
        return self.header_n_bytes + (chunk * self.n_rows + row) * self.row_n_bytes


class LogitsWriter:
    """Takes logits piece by piece, in any order. Made by `opened_logits_writer`."""

    def __init__(self, stream: IO[bytes], shape: Shape) -> None:
        self._stream = stream
        self._shape = shape

    def write(self, chunk: int, first: int, logits: Logits) -> None:
        """Logits [n, n_vocab] of scored tokens of a chunk from `first` on, none of them NaN."""
        self._stream.seek(self._shape.offset(chunk, first))
        self._stream.write(quantised(logits).data)


@contextmanager
def opened_logits_writer(path: Path, tokens: Tokens, n_vocab: int) -> Iterator[LogitsWriter]:
    """A logits file at `path`, overwritten, for tokens [n_chunks, n_ctx].

    Raises WriteFailedError when there is no room, the file system has no files of that size, or
    the system fails.
    """
    n_chunks, n_ctx = tokens.shape
    shape = Shape(n_ctx, n_vocab, n_chunks)
    n_free = n_free_bytes(path.parent)
    if n_free is not None and n_free < shape.n_bytes:
        raise WriteFailedError(
            f"the logits need {shape.n_bytes:,} bytes, {path.parent} has {n_free:,} free",
            hint="Measure fewer chunks, or set TMPDIR if this is the folder for temporary files.",
        )
    try:
        with path.open("wb") as stream:
            check_size(stream.fileno(), shape.n_bytes, "the logits", path.parent)
            stream.write(HEAD.pack(MAGIC, n_ctx, n_vocab, n_chunks))
            stream.write(np.ascontiguousarray(tokens, dtype=np.int32).data)
            yield LogitsWriter(stream, shape)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise WriteFailedError(f"{path}: {error.strerror or error}") from error


class LogitsFile:
    """Made by `opened_logits_file`. Tokens are in memory; rows are read when they are asked for."""

    def __init__(self, path: Path, stream: IO[bytes], shape: Shape) -> None:
        self.path = path
        self.shape = shape
        self._stream = stream
        read = np.frombuffer(self._read(HEAD.size, shape.header_n_bytes - HEAD.size), np.int32)
        self.tokens: Tokens = read.reshape(shape.n_chunks, shape.n_ctx)
        outside = (read < 0) | (read >= shape.n_vocab)
        if outside.any():
            at = int(outside.argmax())
            problem = f"token {read[at]} is none of a vocabulary of {shape.n_vocab}"
            raise MalformedFileError(str(path), problem, offset=HEAD.size + 4 * at)

    def check(self, model: str, tokens: Tokens) -> None:
        """Raise UsageError unless the file fits a model and chunks [n_chunks, n_ctx] of tokens."""
        n_chunks, n_ctx = tokens.shape
        shape = self.shape
        if shape.n_ctx != n_ctx:
            problem = f"{self.path} has contexts of {shape.n_ctx} tokens, not {n_ctx}"
            raise UsageError(problem, hint=f"Measure with a context of {shape.n_ctx} tokens.")
        if shape.n_chunks < n_chunks:
            problem = f"{self.path} has {shape.n_chunks} chunks, {n_chunks} are asked for"
            raise UsageError(problem, hint=f"Measure {shape.n_chunks} chunks.")
        different = self.tokens[:n_chunks] != tokens
        if different.any():
            chunk, place = np.argwhere(different)[0]
            raise UsageError(
                f"{self.path} has other tokens than {model} reads in the text, first in chunk "
                f"{chunk}, place {place}",
                hint="Both must have the same tokenizer, and read the same text.",
            )

    def rows(self, chunk: int, first: int, n: int) -> BaseRows:
        """The rows of n scored tokens of a chunk, from the first on; may be called in any thread.

        Raises MalformedFileError for impossible ones, and when the file cannot be read.
        """
        shape = self.shape
        at = shape.offset(chunk, first)
        values = np.frombuffer(self._read(at, n * shape.row_n_bytes), np.uint16)
        rows = values.reshape(n, n_values(shape.n_vocab))
        self._check_heads(rows, at)
        return BaseRows(rows, shape.n_vocab)

    def _check_heads(self, rows: npt.NDArray[Any], at: int) -> None:
        scale, lowest = heads(rows).T
        good = np.isfinite(scale) & np.isfinite(lowest) & (scale >= 0)
        if not good.all():
            at += int(good.argmin()) * self.shape.row_n_bytes
            problem = "a row without a possible scale and lowest log-probability"
            raise MalformedFileError(str(self.path), problem, offset=at)

    def _read(self, at: int, n_bytes: int) -> bytes:
        try:
            data = os.pread(self._stream.fileno(), n_bytes, at)
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
            raise MalformedFileError(str(self.path), problem, offset=at) from None
        if len(data) < n_bytes:
            raise MalformedFileError(str(self.path), "it was cut short as it was read", offset=at)
        return data


@contextmanager
def opened_logits_file(path: Path) -> Iterator[LogitsFile]:
    """The logits file at `path`.

    Raises UsageError when it cannot be read, MalformedFileError when it is not a logits file or
    not a whole one.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            raise UsageError(f"{path}: not a regular file", hint=HINT)
        stream = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", hint=HINT) from None
    with stream:
        shape = _shape(path, stream.read(HEAD.size))
        _check_size(path, shape, os.fstat(stream.fileno()).st_size)
        yield LogitsFile(path, stream, shape)


def _shape(path: Path, head: bytes) -> Shape:
    if head[:8] != MAGIC:
        hint = "Give a model as the base, not as base logits." if head[:4] == b"GGUF" else HINT
        problem = f"not a llama-perplexity logits file: it does not begin with {MAGIC.decode()}"
        raise MalformedFileError(str(path), problem, offset=0, hint=hint)
    if len(head) < HEAD.size:
        raise MalformedFileError(str(path), "it ends within its header", offset=len(head))
    _, n_ctx, n_vocab, n_chunks = HEAD.unpack(head)
    for at, name, number, least in (
        (8, "tokens of context", n_ctx, 3),
        (12, "tokens of vocabulary", n_vocab, 1),
        (16, "chunks", n_chunks, 1),
    ):
        if number < least:
            raise MalformedFileError(str(path), f"it claims {number} {name}", offset=at)
    return Shape(n_ctx, n_vocab, n_chunks)


def _check_size(path: Path, shape: Shape, n_bytes: int) -> None:
    if n_bytes == shape.n_bytes:
        return
    claim = f"{shape.n_chunks} chunks of {shape.n_ctx} and a vocabulary of {shape.n_vocab} tokens"
    problem = f"{claim} make {shape.n_bytes:,} bytes, it has {n_bytes:,}"
    hint = f"It was not written to its end, or is damaged: make it anew. {HINT}"
    raise MalformedFileError(str(path), problem, hint=hint)
