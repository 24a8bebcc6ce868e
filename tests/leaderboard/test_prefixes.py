"""The tree of common beginnings: every token is run once, and each request sees all of its own."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.context import MAX_SEQUENCES
from ggufsurgeon.leaderboard.answering.encoding import GenerationTokens, LikelihoodTokens
from ggufsurgeon.leaderboard.answering.prefix_batches import Piece, Stream, stream_of
from ggufsurgeon.leaderboard.answering.prefix_order import (
    LEAST_UNIT,
    Unit,
    generation_units,
    likelihood_units,
)
from ggufsurgeon.leaderboard.answering.running.likelihoods import n_cells
from ggufsurgeon.scoring.chunks import N_UBATCH
from tests.leaderboard.requests import drawn, likelihood_requests

few_tokens = st.lists(st.integers(1, 2), min_size=1, max_size=7)
alike = st.lists(st.tuples(few_tokens, few_tokens), min_size=1, max_size=40)
"""Contexts and continuations of few tokens, so that many begin alike."""
lengths = st.lists(st.integers(1, 900), min_size=1, max_size=4)


class Cells:
    """A cache by the rules of llama.cpp: which tokens each sequence has, position by position."""

    def __init__(self) -> None:
        self.tokens: dict[int, list[int]] = defaultdict(list)
        self.cells: dict[int, list[int]] = defaultdict(list)
        """The cell of each token of a sequence: those that sequences share are one."""
        self.n_made = 0
        self.n_most = 0

    def clear(self) -> None:
        self.tokens.clear()
        self.cells.clear()

    def keep(self, sequence: int) -> None:
        for other in [one for one in self.tokens if one != sequence]:
            self.forget(other)

    def forget(self, sequence: int, n_kept: int = 0) -> None:
        del self.tokens[sequence][n_kept:], self.cells[sequence][n_kept:]

    def copy(self, source: int, target: int, n_tokens: int) -> None:
        assert not self.tokens[target], "only an empty sequence may be copied to"
        end = None if n_tokens < 0 else n_tokens
        self.tokens[target] = self.tokens[source][:end]
        self.cells[target] = self.cells[source][:end]

    def run(self, piece: Piece) -> list[tuple[int, ...]]:
        """Run a piece; what each token sees: itself, and all before it in its sequence."""
        batch, seen = piece.batch, []
        for token, position, first, n in zip(
            batch.tokens, batch.positions, batch.sequences, batch.sharing, strict=True
        ):
            sequences = range(first, first + n)
            assert len({tuple(self.tokens[one]) for one in sequences}) == 1, "they have diverged"
            for one in sequences:
                assert position == len(self.tokens[one]), "tokens come one after the other"
                self.tokens[one].append(int(token))
                self.cells[one].append(self.n_made)
            self.n_made += 1
            seen.append(tuple(self.tokens[first]))
        self.n_most = max(self.n_most, len({one for own in self.cells.values() for one in own}))
        return seen


def seen_in(stream: Stream, cells: Cells, *, may_share: bool) -> list[tuple[int, ...]]:
    """What each token of a stream sees, in order."""
    seen: list[tuple[int, ...]] = []
    n_before = 0
    for piece in stream.pieces(may_share=may_share):
        assert piece.first == len(seen)
        assert len(piece.batch.tokens) <= N_UBATCH and len(piece.cached) <= MAX_SEQUENCES
        assert may_share or len(piece.cached) == 1
        piece.prepare(cells, n_before)  # type: ignore[arg-type]
        n_before = len(piece.cached)
        seen += cells.run(piece)
        assert piece.batch.wanted.any()
    return seen


def any_continues_another(requests: dict[int, LikelihoodTokens]) -> bool:
    """Whether a context is the beginning of another: then less than the tree is shared."""
    contexts = sorted({tuple(one.context.tolist()) for one in requests.values()})
    return any(one == other[: len(one)] for one, other in itertools.pairwise(contexts))


def check(requests: dict[int, LikelihoodTokens], *, may_share: bool) -> tuple[Unit, ...]:
    """Each scored token is predicted by what sees the request's tokens before it, and no other."""
    units = likelihood_units(requests, may_share=may_share)
    assert sorted(index for unit in units for index in unit.indices) == sorted(requests)
    cells = Cells()
    for unit in units:
        stream = stream_of(unit, requests)
        seen = seen_in(stream, cells, may_share=may_share)
        assert len(seen) == unit.n_tokens
        if may_share and not any_continues_another(requests):
            assert len(set(seen)) == len(seen), "no token of the tree is run twice"
        predicted = defaultdict(list)
        for place, target, owner in zip(*stream.scored, strict=True):
            assert stream.wanted[place]
            predicted[int(owner)].append((seen[place], int(target)))
        for index in unit.indices:
            one = requests[index]
            whole = [*one.context.tolist(), *one.continuation.tolist()]
            firsts = range(len(one.context), len(whole))
            assert predicted[index] == [(tuple(whole[:n]), whole[n]) for n in firsts]
    assert cells.n_most <= n_cells(requests, may_share=may_share)
    return units


def made(pairs: list[tuple[list[int], list[int]]]) -> dict[int, LikelihoodTokens]:
    arrays = [tuple(np.array(part, dtype=np.int32) for part in pair) for pair in pairs]
    return {3 * n: LikelihoodTokens(context, rest, 0) for n, (context, rest) in enumerate(arrays)}


@given(alike, st.booleans())
def test_every_request_sees_its_own_tokens(
    pairs: list[tuple[list[int], list[int]]], may_share: bool
) -> None:
    check(made(pairs), may_share=may_share)


@given(lengths, st.integers(0, 5))
def test_long_prompts_are_cut_into_full_batches(of_few_shot: list[int], seed: int) -> None:
    requests = likelihood_requests(99, of_few_shot, seed=seed)
    units = check(requests, may_share=True)
    for unit in units:
        pieces = list(stream_of(unit, requests).pieces(may_share=True))
        assert all(len(piece.batch.tokens) == N_UBATCH for piece in pieces[:-1])


def test_choices_of_one_token_have_one_row() -> None:
    context = drawn(np.random.default_rng(0), 50, 99)
    letters = [np.array([letter], dtype=np.int32) for letter in range(10)]
    requests = {n: LikelihoodTokens(context, one, 0) for n, one in enumerate(letters)}
    (unit,) = check(requests, may_share=True)
    assert unit.n_tokens == 50 and stream_of(unit, requests).wanted.sum() == 1


def test_more_choices_than_sequences() -> None:
    n_choices = 2 * MAX_SEQUENCES + 10
    (unit,) = check(made([([1, 2], [3 + n, 1]) for n in range(n_choices)]), may_share=True)
    assert unit.n_tokens == 2 + n_choices


def test_units_end_where_little_is_shared() -> None:
    """What is run again at their beginnings is a small share of all."""
    generator = np.random.default_rng(0)
    pairs = []
    for _ in range(2):
        few_shot = drawn(generator, 300, 9999).tolist()
        for _ in range(500):
            pairs.append(([1, *few_shot, *drawn(generator, 40, 9999).tolist()], [5]))
    units = likelihood_units(made(pairs), may_share=True)
    n_tokens = sum(unit.n_tokens for unit in units)
    assert 2 * 300 + 1000 * 40 <= n_tokens <= 1.05 * (2 * 300 + 1000 * 40)
    assert len(units) > 3 and all(unit.n_tokens >= LEAST_UNIT for unit in units[:-1])


@given(st.lists(st.tuples(few_tokens, st.integers(1, 40_000)), min_size=1, max_size=30))
def test_texts_share_what_is_before_their_last_token(pairs: list[tuple[list[int], int]]) -> None:
    requests = {
        n: GenerationTokens(np.array(prompt, dtype=np.int32), (), most, 0)
        for n, (prompt, most) in enumerate(pairs)
    }
    units = generation_units(requests, 3, may_share=True)
    assert sorted(index for unit in units for index in unit.indices) == sorted(requests)
    for unit in units:
        before: list[int] = []
        for leaf in unit.leaves:
            prompt = requests[leaf.longest].prompt.tolist()
            assert leaf.n_shared < len(prompt)
            assert prompt[: leaf.n_shared] == before[: leaf.n_shared]
            before = prompt
