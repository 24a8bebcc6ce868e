"""Beginnings of prompts behind which a model's logits are not finite numbers."""

from __future__ import annotations

import numpy as np

from ggufsurgeon.engine.context import Batch, Context, Integers
from ggufsurgeon.scoring.chunks import N_UBATCH


class BrokenPrefixes:
    """What is known of a model: no token that follows such a beginning can be predicted.

    Several sequences in one batch are computed together, and numbers that are not finite can reach
    from one to another where a device masks them by adding. So each is tried by itself.
    """

    def __init__(self) -> None:
        self._known: list[Integers] = []

    def cover(self, tokens: Integers) -> bool:
        """Whether tokens, [n_tokens], begin with one that is known."""
        return any(np.array_equal(tokens[: len(one)], one) for one in self._known)

    def find(self, context: Context, tokens: Integers) -> bool:
        """Whether tokens have such a beginning, by running them in an empty context.

        What is found is known from then on.
        """
        context.clear()
        for piece in Batch.of(tokens).parts(N_UBATCH):
            finite = np.isfinite(context.decode(piece).max(axis=1))
            if not finite.all():
                n_tokens = int(piece.positions[np.argmin(finite)]) + 1
                self._known.append(tokens[:n_tokens])
                context.clear()
                return True
        return False
