"""Items in groups: each sequence is there whole, and what is scored is asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.engine.context import MAX_SEQUENCES
from ggufsurgeon.scanning.groups import N_TOKENS, make_groups
from ggufsurgeon.scanning.probes.probe import Item, TokenSequence, items_sha256

lengths = st.lists(st.lists(st.integers(2, 700), min_size=1, max_size=5), min_size=1, max_size=40)


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


@given(lengths)
def test_groups_hold_all_items_in_order(all_lengths: list[list[int]]) -> None:
    items = made(all_lengths)
    groups = make_groups(items)
    covered = [n for group in groups for n in range(group.first, group.first + group.n_items)]
    assert covered == list(range(len(items)))
    for group in groups:
        sequences = [one for n in sorted(set(group.owners)) for one in items[n].sequences]
        for row, start, end, one in zip(
            group.tokens, group.starts, group.ends, sequences, strict=True
        ):
            assert (row[:end] == one.tokens).all() and (start, end) == (one.first, len(one.tokens))
        assert group.n_items == 1 or group.tokens.size <= N_TOKENS
        assert len(group.tokens) <= max(MAX_SEQUENCES, len(items[group.first].sequences))


@given(lengths)
def test_the_logits_in_front_of_scored_tokens_are_wanted(all_lengths: list[list[int]]) -> None:
    for group in make_groups(made(all_lengths)):
        n_tokens = group.tokens.shape[1]
        expected = np.zeros(n_tokens, dtype=np.bool_)
        for start, end in zip(group.starts, group.ends, strict=True):
            expected[start - 1 : end - 1] = True
        assert (group.wanted == expected).all()
        pieces = group.pieces
        assert [n for piece in pieces for n in range(n_tokens)[piece]] == list(range(n_tokens))


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
