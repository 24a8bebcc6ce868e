"""A unit of log-likelihoods as full batches, in which each token of its tree occurs once.

The tokens of the tree are one stream, leaf by leaf, each without what it shares with the leaf
before. A batch is the next tokens of the stream, wherever that cuts a leaf. Its leaves are the
sequences of the context, from 0 on; before it is run, the cache keeps of the last leaf what each of
them begins with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import MAX_SEQUENCES, Batch, Context, Flags, Integers
from ggufsurgeon.leaderboard.answering.encoding import LikelihoodTokens
from ggufsurgeon.leaderboard.answering.prefix_order import Unit
from ggufsurgeon.scoring.chunks import N_UBATCH


class ScoredRows(NamedTuple):
    """The tokens that are scored, in the order of the stream; int32 [n_scored] each."""

    places: Integers
    """Place in the stream of the token whose logits predict it."""
    targets: Integers
    """The token."""
    owners: Integers
    """The index of the request that it belongs to."""

    def of(self, first: int, end: int) -> ScoredRows:
        """Those that are predicted by the tokens `first` to `end` - 1 of the stream."""
        at = slice(*np.searchsorted(self.places, [first, end]))
        return ScoredRows(self.places[at], self.targets[at], self.owners[at])


class Piece(NamedTuple):
    """What is decoded at once."""

    batch: Batch
    first: int
    """The place of its first token in the stream."""
    cached: tuple[int, ...]
    """Of each of its sequences, the tokens that the last sequence of the piece before has, and
    that are not run again."""

    def prepare(self, context: Context, n_before: int) -> None:
        """Turn the cache that a piece with `n_before` sequences left into the one needed here."""
        if not any(self.cached):
            context.clear()
            return
        last = n_before - 1
        if last > 0:
            context.keep(last)
            context.copy(last, 0, -1)
            context.forget(last)
        context.forget(0, self.cached[0])
        for sequence, n_tokens in enumerate(self.cached):
            if sequence > 0 and n_tokens > 0:
                context.copy(0, sequence, n_tokens)


class _Part(NamedTuple):
    """Consecutive tokens of one leaf that are run in one piece."""

    leaf: int
    start: int
    stop: int


class Stream(NamedTuple):
    """A unit, ready to run."""

    sequences: tuple[Integers, ...]
    """The tokens of each leaf, shared ones included."""
    n_shared: tuple[int, ...]
    """Of each leaf, tokens that it shares with the one before."""
    wanted: Flags
    """Tokens of the stream whose logits are needed, [n_tokens]."""
    scored: ScoredRows

    def pieces(self, *, may_share: bool) -> Iterator[Piece]:
        """The batches in order. Without `may_share`, each is of one leaf."""
        first = 0
        for parts in self._parts(may_share):
            piece = self._piece(parts, first)
            yield piece
            first += len(piece.batch.tokens)

    def _parts(self, may_share: bool) -> Iterator[list[_Part]]:
        n_most = MAX_SEQUENCES if may_share else 1
        parts: list[_Part] = []
        room = N_UBATCH
        for leaf, tokens in enumerate(self.sequences):
            start = self.n_shared[leaf]
            while start < len(tokens):
                if room == 0 or len(parts) == n_most:
                    yield parts
                    parts, room = [], N_UBATCH
                stop = min(len(tokens), start + room)
                parts.append(_Part(leaf, start, stop))
                room -= stop - start
                start = stop
        yield parts

    def _piece(self, parts: Sequence[_Part], first: int) -> Piece:
        cached, places = self._places(parts)
        n_tokens = sum(part.stop - part.start for part in parts)
        owner, sharing, position, tokens = np.zeros((4, n_tokens), dtype=np.int32)
        rows = zip(parts, cached, places, strict=True)
        for sequence, (part, n_cached, at) in reversed(list(enumerate(rows))):
            owner[at] = sequence  # the first of those that share it comes last
            sharing[at] += 1
            position[at] = np.arange(n_cached, part.stop)
            tokens[at] = self.sequences[part.leaf][n_cached : part.stop]
        wanted = self.wanted[first : first + n_tokens].copy()
        if not wanted.any():  # some graphs abort where nothing is wanted
            wanted[-1] = True
        return Piece(Batch(tokens, position, owner, wanted, sharing), first, tuple(cached))

    def _places(self, parts: Sequence[_Part]) -> tuple[list[int], list[Integers]]:
        """Of each part, how many tokens of its leaf are cached, and where in the batch the others
        are, int32 [n] each."""
        cached: list[int] = []
        places: list[Integers] = []
        n_tokens = 0
        for part in parts:
            own = np.arange(n_tokens, n_tokens + part.stop - part.start, dtype=np.int32)
            n_cached = min(cached[-1], part.start) if cached else part.start
            shared = places[-1][: part.start - n_cached] if places else own[:0]
            places.append(np.concatenate([shared, own]))
            cached.append(n_cached)
            n_tokens += len(own)
        return cached, places


def stream_of(unit: Unit, requests: Mapping[int, LikelihoodTokens]) -> Stream:
    """A unit of requests, which are given by their indices."""
    sequences = tuple(requests[leaf.longest].inputs() for leaf in unit.leaves)
    places: list[Integers] = []
    targets: list[Integers] = []
    owners: list[Integers] = []
    of_leaf = np.empty(0, dtype=np.int32)
    n_tokens = 0
    for leaf, tokens in zip(unit.leaves, sequences, strict=True):
        own = np.arange(n_tokens, n_tokens + len(tokens) - leaf.n_shared, dtype=np.int32)
        of_leaf = np.concatenate([of_leaf[: leaf.n_shared], own])
        n_tokens += len(own)
        for index in leaf.indices:
            one = requests[index]
            places.append(of_leaf[len(one.context) - 1 : one.n_inputs])
            targets.append(one.continuation)
            owners.append(np.full(len(one.continuation), index, dtype=np.int32))
    scored = ScoredRows(np.concatenate(places), np.concatenate(targets), np.concatenate(owners))
    order = np.argsort(scored.places, kind="stable")
    wanted = np.zeros(n_tokens, dtype=np.bool_)
    wanted[scored.places] = True
    n_shared = tuple(leaf.n_shared for leaf in unit.leaves)
    return Stream(sequences, n_shared, wanted, ScoredRows(*(array[order] for array in scored)))
