"""Scores of tokens: what is kept of each scored token, and what every estimate is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Losses: TypeAlias = npt.NDArray[np.float64]
"""Negative log-likelihoods in nats of the scored positions of chunks, [n_chunks, n_scored]."""
Values: TypeAlias = npt.NDArray[np.floating[Any]]


class PairedScores(NamedTuple):
    """Scores of tokens beside those of a reference for the same tokens, [n_chunks, n_scored]."""

    losses: Values
    """Nats; float32 where the reference is a logits file of llama-perplexity, else float64."""
    base_losses: Values
    """Those of the reference, of the same type."""
    kl: npt.NDArray[np.float64]
    """Kullback-Leibler divergence of the model from the reference, in nats."""
    same_top: npt.NDArray[np.bool_]
    """Whether both find the same token most likely."""

    def each(self, change: Callable[[Any], Any]) -> PairedScores:
        """The four arrays, each passed through `change`."""
        return PairedScores(*map(change, self))


class TokenScores(NamedTuple):
    """Scores of the tokens of consecutive chunks along one layer path, [n_chunks, n_scored]."""

    losses: Losses
    base_losses: Losses | None = None
    """Losses of a reference that is run, by the algorithm of perplexity."""
    paired: PairedScores | None = None
    """None without a reference."""

    def reshaped(self, n_chunks: int, n_scored: int) -> TokenScores:
        """The same scores as arrays [n_chunks, n_scored]."""
        shape = (n_chunks, n_scored)
        return TokenScores(
            self.losses.reshape(shape),
            None if self.base_losses is None else self.base_losses.reshape(shape),
            self.paired and self.paired.each(lambda values: values.reshape(shape)),
        )


def joined(parts: Sequence[TokenScores]) -> TokenScores:
    """The scores of all parts, at least one, in order."""
    base_losses = [part.base_losses for part in parts if part.base_losses is not None]
    paired = [part.paired for part in parts if part.paired is not None]
    return TokenScores(
        np.concatenate([part.losses for part in parts]),
        np.concatenate(base_losses) if base_losses else None,
        PairedScores(*map(np.concatenate, zip(*paired, strict=True))) if paired else None,
    )
