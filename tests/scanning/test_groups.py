"""Items in groups: each sequence is there whole, and what is scored is asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.engine.context import MAX_SEQUENCES, Integers
from ggufsurgeon.scanning.jobs.groups import N_PACKED, N_PADDED, Group, make_groups
from ggufsurgeon.scanning.jobs.packing import Packed, n_packed, packed, padded
from ggufsurgeon.scanning.probes.probe import Item, TokenSequence, items_sha256
from ggufsurgeon.scoring.chunks import N_UBATCH

lengths = st.lists(st.lists(st.integers(2, 700), min_size=1, max_size=5), min_size=1, max_size=40)
short = st.lists(st.integers(1, 2), min_size=2, max_size=6)
alike = st.lists(st.lists(short, min_size=1, max_size=5), min_size=1, max_size=12)
"""Tokens of few values, so that sequences begin alike."""


def made(all_lengths: list[list[int]]) -> list[Item]:
    generator = np.random.default_rng(0)
    items = []
    for number, of_item in enumerate(all_lengths):
        sequences = tuple(
            TokenSequence(
                generator.integers(1, 99, n, dtype=np.int32), int(generator.integers(1, n))
            )
            for n in of_item
        )
        items.append(Item(f"item {number}", sequences))
    return items


def with_prompt(n_items: int, n_choices: int) -> list[Item]:
    """Items whose sequences share 30 tokens, of which the first two are those of all items."""
    generator = np.random.default_rng(0)
    items = []
    for number in range(n_items):
        prompt = np.concatenate([[1, 2], generator.integers(3, 99, 28)]).astype(np.int32)
        choices = [generator.integers(100 * n, 100 * n + 99, 5) for n in range(1, 1 + n_choices)]
        sequences = [np.concatenate([prompt, choice]).astype(np.int32) for choice in choices]
        items.append(
            Item(f"item {number}", tuple(TokenSequence(tokens, 30) for tokens in sequences))
        )
    return items


def sequences_of(items: list[Item]) -> list[TokenSequence]:
    return [one for item in items for one in item.sequences]


def read(run: Packed, sequence: int) -> tuple[Integers, Integers]:
    """The tokens that a model sees as a sequence, by position, and the row of each (or -1)."""
    tokens: dict[int, int] = {}
    rows: dict[int, int] = {}
    n_rows = 0
    for piece in run.pieces:
        index = np.where(piece.wanted, n_rows + np.cumsum(piece.wanted) - 1, -1)
        n_rows += int(piece.wanted.sum())
        own = (piece.sequences <= sequence) & (sequence < piece.sequences + piece.sharing)
        for position, token, row in zip(
            piece.positions[own], piece.tokens[own], index[own], strict=True
        ):
            assert position == len(tokens), "every token comes behind those before it"
            tokens[int(position)], rows[int(position)] = int(token), int(row)
    return np.array(list(tokens.values())), np.array(list(rows.values()))


def check(run: Packed, sequences: list[TokenSequence]) -> None:
    ends = np.cumsum(run.n_scored)[:-1]
    parts = zip(np.split(run.rows, ends), np.split(run.targets, ends), strict=True)
    for n, (one, (rows, targets)) in enumerate(zip(sequences, parts, strict=True)):
        tokens, row_of = read(run, n)
        assert (tokens[: len(one.tokens)] == one.tokens).all()
        assert (targets == one.tokens[one.first :]).all()
        assert (rows == row_of[one.first - 1 : len(one.tokens) - 1]).all() and (rows >= 0).all()
    assert all(len(piece.tokens) <= max(N_UBATCH, len(sequences)) for piece in run.pieces)


@given(lengths)
def test_groups_hold_all_items_in_order(all_lengths: list[list[int]]) -> None:
    items = made(all_lengths)
    groups = make_groups(items, may_share=True)
    covered = [n for group in groups for n in range(group.first, group.first + group.n_items)]
    assert covered == list(range(len(items)))
    for group in groups:
        own = items[group.first : group.first + group.n_items]
        assert group.owners.tolist() == [
            group.first + n for n, item in enumerate(own) for _ in item.sequences
        ]
        check(group.run, sequences_of(own))
        assert group.n_items == 1 or n_decoded(group) <= N_PADDED
        assert group.n_sequences <= max(MAX_SEQUENCES, len(own[0].sequences))


def n_decoded(group: Group) -> int:
    return sum(len(piece.tokens) for piece in group.pieces)


@given(alike)
def test_packed_sequences_are_whole_and_share_what_neighbours_begin_with(
    all_tokens: list[list[list[int]]],
) -> None:
    sequences = [
        TokenSequence(np.array(tokens, dtype=np.int32), len(tokens) - 1)
        for of_item in all_tokens
        for tokens in of_item
    ]
    run = packed(sequences)
    check(run, sequences)
    assert n_packed(sequences) == sum(len(piece.tokens) for piece in run.pieces)
    check(padded(sequences), sequences)


def test_prompts_run_once() -> None:
    items = with_prompt(n_items=40, n_choices=4)
    groups = make_groups(items, may_share=True)
    n_first = len(groups)
    assert sum(map(n_decoded, groups)) == 40 * (28 + 4 * 5) + 2 * n_first
    assert all(group.run.is_shared and n_decoded(group) <= N_PACKED for group in groups)
    plain = make_groups(items, may_share=False)
    assert sum(map(n_decoded, plain)) == 40 * 4 * 35
    assert not any(group.run.is_shared for group in plain)


def test_little_in_common_is_not_shared() -> None:
    """A cache that holds all sequences makes attention slower."""
    sequences = [TokenSequence(np.array([1, *range(9 * n, 9 * n + 40)]), 1) for n in range(9)]
    items = [Item(str(n), (one,)) for n, one in enumerate(sequences)]
    assert not any(group.run.is_shared for group in make_groups(items, may_share=True))


def test_a_hash_tells_items_apart() -> None:
    items = made([[5], [7, 9], [3]])
    one = items[1].sequences[0]
    changed = [
        Item("other", items[1].sequences),
        Item("item 1", items[1].sequences[:1]),
        Item("item 1", (TokenSequence(one.tokens, one.first % 6 + 1), items[1].sequences[1])),
        Item("item 1", (TokenSequence(one.tokens + 1, one.first), items[1].sequences[1])),
    ]
    hashes = {items_sha256([items[0], item, items[2]]) for item in [items[1], *changed]}
    assert len(hashes) == 5
    assert items_sha256(items) == items_sha256(made([[5], [7, 9], [3]]))
