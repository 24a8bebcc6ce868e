"""Tokens of a task in one batch: which run once, and which logits are requested and read."""

from __future__ import annotations

import numpy as np

from ggufsurgeon.multiple_choice.packing import pack
from ggufsurgeon.multiple_choice.task_tokens import TaskTokens

SEQUENCES = [np.array(tokens, np.int32) for tokens in ([1, 2, 3, 4, 5], [1, 2, 3, 6, 7, 8])]
"""Two choices that share three tokens."""


def test_shared_tokens_run_once() -> None:
    packed = pack(TaskTokens(SEQUENCES, [(3, 5), (3, 6)]), 3)
    assert packed.tokens.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert packed.positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5]
    assert packed.sequences.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert packed.n_sharing.tolist() == [2, 2, 2, 1, 1, 1, 1, 1]
    for n, sequence in enumerate(SEQUENCES):
        assert packed.tokens[packed.rows_of(n)].tolist() == sequence.tolist()
    assert np.flatnonzero(packed.wanted).tolist() == [2, 3, 5, 6]
    assert [one.rows.tolist() for one in packed.scored] == [[0, 1], [0, 2, 3]]
    assert [one.targets.tolist() for one in packed.scored] == [[4, 5], [6, 7, 8]]


def test_nothing_need_be_shared() -> None:
    packed = pack(TaskTokens(SEQUENCES, [(3, 5), (3, 6)]), 0)
    assert packed.tokens.tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 6, 7, 8]
    assert packed.n_sharing.tolist() == [1] * 11
    assert np.flatnonzero(packed.wanted).tolist() == [2, 3, 7, 8, 9]
    assert [one.rows.tolist() for one in packed.scored] == [[0, 1], [2, 3, 4]]


def test_winogrande_requests_more_than_it_reads() -> None:
    """The second sentence begins to be scored where they differ, so its first row is the fault."""
    packed = pack(TaskTokens(SEQUENCES, [(3, 4), (3, 5)]), 3, as_winogrande=True)
    assert np.flatnonzero(packed.wanted).tolist() == [2, 3, 4, 5, 6, 7]
    assert [one.rows.tolist() for one in packed.scored] == [[0], [2, 3]]
    assert [one.targets.tolist() for one in packed.scored] == [[4], [6, 7]]
