"""Log-likelihoods of a unit of requests, in a context that keeps shared prefixes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ggufsurgeon.engine.context import MAX_SEQUENCES, Context, Integers
from ggufsurgeon.leaderboard.answering.encoding import LikelihoodTokens
from ggufsurgeon.leaderboard.answering.prefix_batches import (
    Piece,
    ScoredRows,
    Stream,
    stream_of,
)
from ggufsurgeon.leaderboard.answering.prefix_order import Leaf, Unit
from ggufsurgeon.leaderboard.answering.running.broken_prefixes import BrokenPrefixes
from ggufsurgeon.leaderboard.requests import LikelihoodAnswer
from ggufsurgeon.scoring.chunks import N_UBATCH
from ggufsurgeon.scoring.logits.row_targets import TargetScores, score_targets

Answers = Sequence[tuple[int, LikelihoodAnswer]]
"""Answers with the indices of their requests."""


class LikelihoodRun:
    """Answers units of requests in one context."""

    def __init__(
        self,
        context: Context,
        requests: Mapping[int, LikelihoodTokens],
        pool: ThreadPoolExecutor,
        *,
        may_share: bool,
    ) -> None:
        """`requests` are all, by their indices; without `may_share`, no two run at once."""
        self._context = context
        self._requests = requests
        self._pool = pool
        self._may_share = may_share
        self._broken = BrokenPrefixes()

    def answers(self, unit: Unit, on_run: Callable[[int], object]) -> Iterator[Answers]:
        """The answers to the requests of a unit, some at a time.

        `on_run` is called with the number of tokens that have been run since the last call.
        """
        indices = sorted(unit.indices)
        if all(self._broken.cover(self._requests[index].inputs()) for index in indices):
            on_run(unit.n_tokens)
            yield [(index, self._not_finite(index)) for index in indices]
            return
        doubtful: list[int] = []
        for found in self._run(unit, on_run):
            doubtful += [index for index, one in found if math.isnan(one.log_likelihood)]
            yield [pair for pair in found if not math.isnan(pair[1].log_likelihood)]
        for index in doubtful:
            yield self._alone(index)

    def _run(self, unit: Unit, on_run: Callable[[int], object]) -> Iterator[Answers]:
        stream = stream_of(unit, self._requests)
        sums = _Sums(stream, self._requests)
        n_before = 0
        for piece in stream.pieces(may_share=self._may_share):
            piece.prepare(self._context, n_before)
            n_before = len(piece.cached)
            logits = self._context.decode(piece.batch)
            scored, rows = sums.scored_of(piece)
            scores = score_targets(logits, rows, scored.targets, self._pool)
            yield sums.add(scored.owners, scores)
            on_run(len(piece.batch.tokens))

    def _alone(self, index: int) -> Answers:
        """The answer to a request whose logits were not finite numbers beside others."""
        tokens = self._requests[index].inputs()
        if self._broken.cover(tokens) or self._broken.find(self._context, tokens):
            return [(index, self._not_finite(index))]
        unit = Unit((Leaf((index,), index, 0),), len(tokens))
        return [pair for found in self._run(unit, lambda _n: None) for pair in found]

    def _not_finite(self, index: int) -> LikelihoodAnswer:
        return LikelihoodAnswer(math.nan, False, self._requests[index].n_cut)


class _Sums:
    """The sums over the scored tokens of requests, as their rows come."""

    def __init__(self, stream: Stream, requests: Mapping[int, LikelihoodTokens]) -> None:
        self._n_wanted = np.cumsum(stream.wanted, dtype=np.int32)
        self._requests = requests
        self._indices, of_scored = np.unique(stream.scored.owners, return_inverse=True)
        self._scored = stream.scored._replace(owners=of_scored.astype(np.int32))
        self._log_likelihoods = np.zeros(len(self._indices))
        self._are_greedy = np.ones(len(self._indices), dtype=np.bool_)
        self._n_left = np.bincount(of_scored)

    def scored_of(self, piece: Piece) -> tuple[ScoredRows, Integers]:
        """The tokens that a piece predicts, and the rows of its logits that do, int32 [n]."""
        scored = self._scored.of(piece.first, piece.first + len(piece.batch.tokens))
        n_before = self._n_wanted[piece.first - 1] if piece.first else 0
        rows: Integers = self._n_wanted[scored.places] - 1 - n_before
        return scored, rows

    def add(self, owners: Integers, scores: TargetScores) -> Answers:
        """Add the scores of tokens to their requests; the answers that are complete with them."""
        np.add.at(self._log_likelihoods, owners, scores.log_probs)
        np.logical_and.at(self._are_greedy, owners, scores.are_likeliest)
        np.subtract.at(self._n_left, owners, 1)
        distinct = np.unique(owners)
        return [self._answer(owner) for owner in distinct[self._n_left[distinct] == 0].tolist()]

    def _answer(self, owner: int) -> tuple[int, LikelihoodAnswer]:
        index = int(self._indices[owner])
        value = float(self._log_likelihoods[owner])
        is_greedy = bool(self._are_greedy[owner])
        return index, LikelihoodAnswer(value, is_greedy, self._requests[index].n_cut)


def n_cells(requests: Mapping[int, LikelihoodTokens], *, may_share: bool) -> int:
    """Tokens that the cache of the context of a run must hold."""
    longest = max(one.n_inputs for one in requests.values())
    return longest + N_UBATCH if may_share else longest


def n_sequences(*, may_share: bool) -> int:
    """Sequences that the context of a run must have."""
    return MAX_SEQUENCES if may_share else 1
