"""Scores of tokens: the quantities of each scored token that estimates are computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Losses: TypeAlias = npt.NDArray[np.float64]
"""Negative log-likelihoods in nats of the scored positions of chunks, [n_chunks, n_scored]."""
Values: TypeAlias = npt.NDArray[np.floating[Any]]
"""Arrays of float32 or float64."""


class PairedScores(NamedTuple):
    """Scores of tokens with those of a reference for the same tokens, [n_chunks, n_scored]."""

    losses: Values
    """Negative log-likelihoods in nats; float32 where the reference is a logits file, else
    float64."""
    base_losses: Values
    """Negative log-likelihoods of the reference in nats, of the same dtype."""
    kl: npt.NDArray[np.float64]
    """Kullback-Leibler divergences of the model from the reference, in nats."""
    same_top: npt.NDArray[np.bool_]
    """Whether model and reference have the same most likely token."""

    def each(self, change: Callable[[Any], Any]) -> PairedScores:
        """The scores with `change` applied to each of the four arrays."""
        return PairedScores(*map(change, self))


class TokenScores(NamedTuple):
    """Scores of the tokens of consecutive chunks along one layer path, [n_chunks, n_scored]."""

    losses: Losses
    base_losses: Losses | None = None
    """Negative log-likelihoods of a reference that is run, for its perplexity; None for a logits
    file, and without a reference."""
    paired: PairedScores | None = None
    """The comparison with a reference; None without one."""

    def reshaped(self, n_chunks: int, n_scored: int) -> TokenScores:
        """The same scores as arrays [n_chunks, n_scored]."""
        shape = (n_chunks, n_scored)
        return TokenScores(
            self.losses.reshape(shape),
            None if self.base_losses is None else self.base_losses.reshape(shape),
            self.paired and self.paired.each(lambda values: values.reshape(shape)),
        )


def joined(parts: Sequence[TokenScores]) -> TokenScores:
    """The scores of one or more parts as one, in their order."""
    base_losses = [part.base_losses for part in parts if part.base_losses is not None]
    paired = [part.paired for part in parts if part.paired is not None]
    return TokenScores(
        np.concatenate([part.losses for part in parts]),
        np.concatenate(base_losses) if base_losses else None,
        PairedScores(*map(np.concatenate, zip(*paired, strict=True))) if paired else None,
    )
