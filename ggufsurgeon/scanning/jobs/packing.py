"""Sequences of tokens as they are decoded: side by side, or with common beginnings run once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import Batch, Integers
from ggufsurgeon.multiple_choice.task_tokens import n_common
from ggufsurgeon.scanning.probes.probe import TokenSequence
from ggufsurgeon.scoring.chunks import N_UBATCH


class Packed(NamedTuple):
    """The tokens of some sequences, and where their scored tokens are."""

    pieces: tuple[Batch, ...]
    """What is decoded at once, in order."""
    rows: Integers
    """The row that predicts each scored token, among the wanted ones of all pieces; int32
    [n_scored], sequence by sequence."""
    targets: Integers
    """The scored tokens, int32 [n_scored]."""
    n_scored: tuple[int, ...]
    """Scored tokens of each sequence."""
    is_shared: bool
    """Whether tokens may be in several sequences."""


def n_padded(sequences: Sequence[TokenSequence]) -> int:
    """Tokens that `padded` decodes."""
    return len(sequences) * max((len(one.tokens) for one in sequences), default=0)


def padded(sequences: Sequence[TokenSequence]) -> Packed:
    """Each sequence by itself, padded to the longest: a row of a rectangle."""
    length = max(len(one.tokens) for one in sequences)
    tokens = np.stack([_padded(one.tokens, length) for one in sequences])
    wanted = np.zeros(length, dtype=np.bool_)
    for one in sequences:
        wanted[one.first - 1 : len(one.tokens) - 1] = True
    step = max(1, N_UBATCH // len(sequences))
    slices = [slice(start, start + step) for start in range(0, length, step)]
    pieces = tuple(Batch.side_by_side(tokens[:, at], at.start, wanted[at]) for at in slices)
    row_of = np.full(tokens.shape, -1, dtype=np.int32)
    n_rows = 0
    for at in slices:
        n_wanted = len(sequences) * int(wanted[at].sum())
        places = np.arange(n_rows, n_rows + n_wanted, dtype=np.int32)
        row_of[:, at][:, wanted[at]] = places.reshape(len(sequences), -1)
        n_rows += n_wanted
    return _packed(pieces, sequences, list(row_of), is_shared=False)


def n_packed(sequences: Sequence[TokenSequence]) -> int:
    """Tokens that `packed` decodes."""
    shared = itertools.pairwise(sequences)
    n_shared = sum(n_common([one.tokens, other.tokens]) for one, other in shared)
    return sum(len(one.tokens) for one in sequences) - n_shared


def packed(sequences: Sequence[TokenSequence]) -> Packed:
    """What a sequence has in common with the one before it, from the first token on, runs once."""
    places = _places(sequences)
    n_tokens = 1 + max(int(at[-1]) for at in places)
    first, sharing, position, tokens = np.zeros((4, n_tokens), dtype=np.int32)
    wanted = np.zeros(n_tokens, dtype=np.bool_)
    for n, (one, at) in reversed(list(enumerate(zip(sequences, places, strict=True)))):
        first[at] = n  # the first of those that share it comes last
        sharing[at] += 1
        position[at] = np.arange(len(at))
        tokens[at] = one.tokens
        wanted[at[one.first - 1 : -1]] = True
    whole = Batch(tokens, position, first, wanted, sharing)
    pieces = tuple(whole.parts(N_UBATCH))
    index = np.cumsum(wanted, dtype=np.int32) - 1
    return _packed(pieces, sequences, [index[at] for at in places], is_shared=True)


def _places(sequences: Sequence[TokenSequence]) -> list[Integers]:
    """The place of each token of each sequence among all that are decoded, [n_tokens] each."""
    places: list[Integers] = []
    n_tokens = 0
    for n, one in enumerate(sequences):
        n_shared = n_common([sequences[n - 1].tokens, one.tokens]) if n else 0
        n_own = len(one.tokens) - n_shared
        own = np.arange(n_tokens, n_tokens + n_own, dtype=np.int32)
        places.append(np.concatenate([places[-1][:n_shared], own]) if n else own)
        n_tokens += n_own
    return places


def _packed(
    pieces: tuple[Batch, ...],
    sequences: Sequence[TokenSequence],
    row_of: Sequence[Integers],
    *,
    is_shared: bool,
) -> Packed:
    rows = [
        own[one.first - 1 : len(one.tokens) - 1] for own, one in zip(row_of, sequences, strict=True)
    ]
    targets = [one.tokens[one.first :] for one in sequences]
    n_scored = tuple(map(len, targets))
    return Packed(pieces, np.concatenate(rows), np.concatenate(targets), n_scored, is_shared)


def _padded(tokens: Integers, length: int) -> Integers:
    padding = np.full(length - len(tokens), tokens[-1], dtype=np.int32)
    return np.concatenate([tokens, padding]).astype(np.int32)
