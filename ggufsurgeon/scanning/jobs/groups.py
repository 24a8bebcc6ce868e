"""Items in groups: the sequences of a group run together, whatever the layer path."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ggufsurgeon.engine.context import MAX_SEQUENCES, Batch, Integers
from ggufsurgeon.scanning.jobs.packing import Packed, n_packed, n_padded, packed, padded
from ggufsurgeon.scanning.probes.probe import Item, TokenSequence
from ggufsurgeon.scoring.chunks import N_UBATCH

N_PADDED = 2048
"""Tokens of a group of padded sequences, padding included, unless one item alone has more."""
N_PACKED = N_UBATCH
"""Tokens of a group of sequences that share prefixes: each attends over the cache of all."""
LEAST_SAVING = 0.1
"""Share of the tokens that packing must save: a cache for all sequences makes attention slower."""

_CountTokens: TypeAlias = Callable[[Sequence[TokenSequence]], int]


@dataclass(frozen=True)
class Group:
    """Consecutive items that are decoded together."""

    first: int
    """The index of the first item."""
    n_items: int
    run: Packed
    """The tokens of all sequences as they are decoded."""
    owners: Integers
    """Index of the item of each sequence, int32 [n_sequences]."""

    @property
    def pieces(self) -> Sequence[Batch]:
        """What is decoded at once, as `perplexity` has it."""
        return self.run.pieces

    @property
    def n_sequences(self) -> int:
        """The number of sequences of all items."""
        return len(self.owners)

    @property
    def n_ctx(self) -> int:
        """Tokens of the longest sequence, padding included."""
        return max(int(piece.positions.max()) + 1 for piece in self.pieces)


def make_groups(
    items: Sequence[Item], begins: Collection[int] = (), *, may_share: bool
) -> list[Group]:
    """All items, in order; a group begins at each of the items of `begins` too.

    With `may_share`, what sequences have in common at their beginning runs once, if that saves
    enough. Nothing else decides the groups, so that they round alike always.
    """
    sequences = [one for item in items for one in item.sequences]
    if may_share and n_packed(sequences) <= (1 - LEAST_SAVING) * sum(map(_length, sequences)):
        return _made(items, begins, n_packed, N_PACKED, packed)
    return _made(items, begins, n_padded, N_PADDED, padded)


def _length(sequence: TokenSequence) -> int:
    return len(sequence.tokens)


def _made(
    items: Sequence[Item],
    begins: Collection[int],
    count: _CountTokens,
    n_tokens: int,
    arrange: Callable[[Sequence[TokenSequence]], Packed],
) -> list[Group]:
    """Groups of at most `n_tokens`, as `count` counts them, unless an item alone has more."""
    groups: list[list[int]] = []
    together: list[TokenSequence] = []
    for index, item in enumerate(items):
        together = [*together, *item.sequences]
        is_full = count(together) > n_tokens or len(together) > MAX_SEQUENCES
        if not groups or is_full or index in begins:
            groups.append([])
            together = list(item.sequences)
        groups[-1].append(index)
    return [_group(items, range(group[0], group[-1] + 1), arrange) for group in groups]


def _group(
    items: Sequence[Item],
    indices: range,
    arrange: Callable[[Sequence[TokenSequence]], Packed],
) -> Group:
    owned = [(index, one) for index in indices for one in items[index].sequences]
    owners = np.array([index for index, _ in owned], dtype=np.int32)
    return Group(indices.start, len(indices), arrange([one for _, one in owned]), owners)
