"""Items in groups: the sequences of a group ride in one batch, padded to the longest of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ggufsurgeon.engine.context import MAX_SEQUENCES, Flags, Integers
from ggufsurgeon.scanning.probes.probe import Item
from ggufsurgeon.scoring.chunks import N_UBATCH

N_TOKENS = 2048
"""Tokens of a group, padding included, unless one item alone has more."""


@dataclass(frozen=True)
class Group:
    """Consecutive items that are decoded together, whatever the layer path."""

    first: int
    """The index of the first item."""
    n_items: int
    tokens: Integers
    """Tokens of each sequence, [n_sequences, n_tokens], padded at the end."""
    starts: Integers
    """Position of the first scored token of each sequence, [n_sequences]."""
    ends: Integers
    """Position behind its last token, [n_sequences]."""
    owners: Integers
    """Index of the item of each sequence, [n_sequences]."""

    @property
    def wanted(self) -> Flags:
        """Positions whose logits some sequence needs, [n_tokens]."""
        at = np.arange(self.tokens.shape[1])[:, np.newaxis]
        return np.asarray(((at >= self.starts - 1) & (at < self.ends - 1)).any(axis=1))

    @property
    def pieces(self) -> list[slice]:
        """Positions that are decoded together, as `perplexity` has them."""
        n_sequences, n_tokens = self.tokens.shape
        step = max(1, N_UBATCH // n_sequences)
        return [slice(at, min(at + step, n_tokens)) for at in range(0, n_tokens, step)]


def make_groups(items: Sequence[Item], begins: Collection[int] = ()) -> list[Group]:
    """All items, in order; a group begins at each of the items of `begins` too.

    Nothing else decides the groups, so that they round alike always.
    """
    groups: list[Group] = []
    begin, longest, n_sequences = 0, 0, 0
    for index, item in enumerate(items):
        length = max(longest, *(len(one.tokens) for one in item.sequences))
        n = n_sequences + len(item.sequences)
        is_full = n * length > N_TOKENS or n > MAX_SEQUENCES
        if index > begin and (is_full or index in begins):
            groups.append(_group(items, begin, index))
            begin, n = index, len(item.sequences)
            length = max(len(one.tokens) for one in item.sequences)
        longest, n_sequences = length, n
    if items:
        groups.append(_group(items, begin, len(items)))
    return groups


def _group(items: Sequence[Item], begin: int, end: int) -> Group:
    owned = [(index, one) for index in range(begin, end) for one in items[index].sequences]
    n_tokens = max(len(one.tokens) for _, one in owned)
    tokens = np.zeros((len(owned), n_tokens), dtype=np.int32)
    for row, (_, one) in zip(tokens, owned, strict=True):
        row[: len(one.tokens)] = one.tokens
        row[len(one.tokens) :] = one.tokens[-1]
    return Group(
        begin,
        end - begin,
        tokens,
        starts=np.array([one.first for _, one in owned], dtype=np.int32),
        ends=np.array([len(one.tokens) for _, one in owned], dtype=np.int32),
        owners=np.array([index for index, _ in owned], dtype=np.int32),
    )
