"""Prefixes of prompts after which a model's logits are not finite numbers."""

from __future__ import annotations

import numpy as np

from ggufsurgeon.engine.context import Batch, Context, Integers
from ggufsurgeon.scoring.chunks import N_UBATCH


class BrokenPrefixes:
    """Known prefixes of one model: no token that follows such a prefix can be predicted.

    Attention masks are added to scores, so a number that is not finite reaches every token of a
    batch, also earlier ones and those of other sequences. So a prefix is tried by itself.
    """

    def __init__(self) -> None:
        self._known: list[Integers] = []

    def cover(self, tokens: Integers) -> bool:
        """Whether tokens, [n_tokens], begin with a known prefix."""
        return any(np.array_equal(tokens[: len(one)], one) for one in self._known)

    def find(self, context: Context, tokens: Integers) -> bool:
        """Whether tokens have such a prefix, found by running them in an empty context.

        The shortest is known from then on. The context is empty afterwards.
        """
        n_finite, n_broken = 0, len(tokens)
        if _is_finite(context, tokens):
            return False
        while n_broken - n_finite > 1:
            middle = (n_finite + n_broken) // 2
            if _is_finite(context, tokens[:middle]):
                n_finite = middle
            else:
                n_broken = middle
        self._known.append(tokens[:n_broken])
        return True


def _is_finite(context: Context, tokens: Integers) -> bool:
    """Whether the logits after the last of these tokens are finite numbers."""
    context.clear()
    last = np.arange(len(tokens)) == len(tokens) - 1
    for piece in Batch.of(tokens, last).parts(N_UBATCH):
        if not piece.wanted.any():  # some graphs abort where nothing is wanted
            piece.wanted[-1] = True
        is_finite = bool(np.isfinite(context.decode(piece).max()))
    context.clear()
    return is_finite
