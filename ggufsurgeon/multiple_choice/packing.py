"""Tokens of a task as they are decoded: what its choices share runs once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import Flags, Integers
from ggufsurgeon.llama_perplexity.winogrande import Span, first_requested, rows_read
from ggufsurgeon.multiple_choice.task_tokens import TaskTokens


class ScoredTokens(NamedTuple):
    """The scored tokens of one choice, and the logits that predict them; both int32 [n_scored]."""

    rows: Integers
    """Indices into the logits of the task, [n_wanted, n_vocab]."""
    targets: Integers
    """Token ids."""


class PackedTask(NamedTuple):
    """The tokens of a task: those that its choices share, then the rest of each choice.

    The arrays have shape [n_tokens], and are int32 but for `wanted`.
    """

    tokens: Integers
    positions: Integers
    """Positions in the sequence, from 0."""
    sequences: Integers
    """Index of the choice that a token belongs to, or of the first that shares it."""
    n_sharing: Integers
    """Number of choices that share a token: one, or all."""
    wanted: Flags
    """Whether the logits behind a token are needed, bool."""
    scored: tuple[ScoredTokens, ...]
    """The scored tokens of each choice."""

    @property
    def n_sequences(self) -> int:
        """The number of choices, each of which is a sequence."""
        return len(self.scored)

    def rows_of(self, sequence: int) -> Flags:
        """Flags [n_tokens] of the tokens of one choice, shared ones included."""
        first: Integers = self.sequences
        found: Flags = (first <= sequence) & (sequence < first + self.n_sharing)
        return found


def pack(task: TaskTokens, n_shared: int, *, as_winogrande: bool = False) -> PackedTask:
    """The tokens of a task whose first `n_shared` tokens are equal in all choices and run once.

    With `as_winogrande`, logits are requested and read as llama-perplexity does for winogrande.
    """
    sequences, spans = task
    n_own = [len(tokens) - n_shared for tokens in sequences]
    rows = _predicting_rows(spans, n_own, n_shared)
    wanted = np.zeros(n_shared + sum(n_own), dtype=np.bool_)
    if as_winogrande:
        rows = rows_read(rows, spans, task.n_common, len(sequences[0]))
        wanted[first_requested(n_shared) :] = True
    wanted[np.concatenate(rows)] = True
    index_of_row = np.cumsum(wanted, dtype=np.int32) - 1
    targets = (tokens[slice(*span)] for tokens, span in zip(sequences, spans, strict=True))
    owners = [0, *range(len(sequences))]
    positions = [np.arange(n_shared), *(n_shared + np.arange(n) for n in n_own)]
    return PackedTask(
        tokens=np.concatenate([sequences[0][:n_shared], *(s[n_shared:] for s in sequences)]),
        positions=np.concatenate(positions).astype(np.int32),
        sequences=np.repeat(owners, [n_shared, *n_own]).astype(np.int32),
        n_sharing=np.repeat([len(sequences), 1], [n_shared, sum(n_own)]).astype(np.int32),
        wanted=wanted,
        scored=tuple(map(ScoredTokens, (index_of_row[at] for at in rows), targets)),
    )


def _predicting_rows(spans: Sequence[Span], n_own: Sequence[int], n_shared: int) -> list[Integers]:
    """For each choice, the packed tokens in front of its scored ones, [n_scored]."""
    starts = n_shared + np.concatenate([[0], np.cumsum(n_own)[:-1]])
    rows = []
    for (first, end), start in zip(spans, starts, strict=True):
        position = np.arange(first - 1, end - 1)
        rows.append(np.where(position < n_shared, position, start + position - n_shared))
    return rows
