"""Tokens to run, with their places in sequences."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.installation.library import llama_cpp
from ggufsurgeon.errors import UsageError

Integers: TypeAlias = npt.NDArray[np.int32]
Flags: TypeAlias = npt.NDArray[np.bool_]


class Batch(NamedTuple):
    """Tokens to run, their positions and sequences, and flags for results; each [n_tokens]."""

    tokens: Integers
    positions: Integers
    sequences: Integers
    wanted: Flags
    n_sharing: Integers | None = None
    """Number of sequences that hold each token, counted from its own; None means one."""

    @classmethod
    def of(cls, tokens: Integers, wanted: Flags | None = None) -> Batch:
        """A batch of one sequence from its beginning; without `wanted`, all tokens give results."""
        n = len(tokens)
        wanted = np.ones(n, dtype=np.bool_) if wanted is None else wanted
        return cls(tokens, np.arange(n, dtype=np.int32), np.zeros(n, dtype=np.int32), wanted)

    @classmethod
    def side_by_side(cls, tokens: Integers, first: int, wanted: Flags) -> Batch:
        """Tokens [n_seq, n] of as many sequences, all at positions from `first` on.

        `wanted`, [n], holds for each of the sequences.
        """
        n_seq, n = tokens.shape
        return cls(
            tokens=tokens.reshape(-1),
            positions=np.tile(np.arange(first, first + n, dtype=np.int32), n_seq),
            sequences=np.repeat(np.arange(n_seq, dtype=np.int32), n),
            wanted=np.tile(wanted, n_seq),
        )

    @property
    def n_sequences(self) -> int:
        """Number of sequences, from 0 to the highest that is used."""
        return int((self.sequences + self.sharing).max())

    @property
    def sharing(self) -> Integers:
        """`n_sharing`, with a one for each token where it is None."""
        if self.n_sharing is None:
            return np.ones(len(self.tokens), dtype=np.int32)
        return self.n_sharing

    def has_tokens_of(self, other: Batch) -> bool:
        """Whether both run the same tokens at the same places, whichever are wanted."""
        return all(
            map(
                np.array_equal,
                (self.tokens, self.positions, self.sequences, self.sharing),
                (other.tokens, other.positions, other.sequences, other.sharing),
            )
        )

    def repeated(self, n: int) -> Batch:
        """This batch `n` times, each time in sequences of its own."""
        if n == 1:
            return self
        shift = np.repeat(np.arange(n, dtype=np.int32) * self.n_sequences, len(self.tokens))
        return Batch(
            np.tile(self.tokens, n),
            np.tile(self.positions, n),
            np.tile(self.sequences, n) + shift,
            np.tile(self.wanted, n),
            None if self.n_sharing is None else np.tile(self.n_sharing, n),
        )

    def part(self, piece: slice) -> Batch:
        """The batch of the tokens in a slice."""
        n_sharing = None if self.n_sharing is None else self.n_sharing[piece]
        return Batch(
            self.tokens[piece],
            self.positions[piece],
            self.sequences[piece],
            self.wanted[piece],
            n_sharing,
        )

    def parts(self, n_tokens: int) -> list[Batch]:
        """The tokens in order, `n_tokens` at most in each batch."""
        starts = range(0, len(self.tokens), n_tokens)
        return [self.part(slice(start, start + n_tokens)) for start in starts]


def as_tokens(tokens: npt.ArrayLike) -> Integers:
    """Token ids as int32 [n_tokens]. Raises UsageError for anything but a list of integers."""
    ids = np.asarray(tokens)
    if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
        raise UsageError(f"expected token ids, integers [n_tokens], got {ids.dtype} {ids.shape}")
    return ids.astype(np.int32)


def as_flags(wanted: npt.ArrayLike | None, n_tokens: int) -> Flags:
    """Flags as bool [n_tokens], all set for None. Raises UsageError for another shape."""
    flags = np.ones(n_tokens, dtype=np.bool_) if wanted is None else np.asarray(wanted).astype(bool)
    if flags.shape != (n_tokens,):
        raise UsageError(f"expected a flag for each of {n_tokens} tokens, got shape {flags.shape}")
    return flags


def native_batch(batch: Batch) -> tuple[Any, tuple[npt.NDArray[Any], ...]]:
    """A `llama_batch`, and the arrays that it points to, which must outlive it."""
    n_sharing = batch.sharing
    # The sequences of a token follow one another, so each begins somewhere in this row.
    sequences = np.arange(batch.n_sequences, dtype=np.int32)
    pointers = sequences.ctypes.data + 4 * batch.sequences.astype(np.uintp)
    arrays: tuple[npt.NDArray[Any], ...] = (
        np.ascontiguousarray(batch.tokens, dtype=np.int32),
        np.ascontiguousarray(batch.positions, dtype=np.int32),
        np.ascontiguousarray(n_sharing, dtype=np.int32),
        pointers,
        np.ascontiguousarray(batch.wanted, dtype=np.bool_),
    )
    native = llama_cpp().llama_batch()
    native.n_tokens = len(batch.tokens)
    for field, array in zip(("token", "pos", "n_seq_id", "seq_id", "logits"), arrays, strict=True):
        kind = type(getattr(native, field))
        setattr(native, field, ctypes.cast(array.ctypes.data, kind))
    return native, (*arrays, sequences)
