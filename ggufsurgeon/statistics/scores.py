"""What is kept of the scored tokens of some chunks: all that any figure is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Losses: TypeAlias = npt.NDArray[np.float64]
"""Negative log-likelihoods in nats, of the scored positions of chunks: [n_chunks, n_scored]."""
Values: TypeAlias = npt.NDArray[np.floating[Any]]


class Compared(NamedTuple):
    """With a base: all [n_chunks, n_scored]. Losses are of the type that the base's rows give."""

    losses: Values
    base_losses: Values
    kl: npt.NDArray[np.float64]
    """Kullback-Leibler divergence of the model from the base, in nats."""
    same_top: npt.NDArray[np.bool_]
    """Whether both find the same token likeliest."""

    def each(self, change: Callable[[Any], Any]) -> Compared:
        """All of it, changed."""
        return Compared(*map(change, self))


class Findings(NamedTuple):
    """Of some chunks, one after the other; arrays are [n_chunks, n_scored]."""

    losses: Losses
    base_losses: Losses | None = None
    """Of a base that is a model, by the algorithm of perplexity."""
    compared: Compared | None = None

    def reshaped(self, n_chunks: int, n_scored: int) -> Findings:
        """The same in this shape."""
        shape = (n_chunks, n_scored)
        return Findings(
            self.losses.reshape(shape),
            None if self.base_losses is None else self.base_losses.reshape(shape),
            self.compared and self.compared.each(lambda values: values.reshape(shape)),
        )


def joined(parts: Sequence[Findings]) -> Findings:
    """The findings of all parts, at least one, in order."""
    base_losses = [part.base_losses for part in parts if part.base_losses is not None]
    compared = [part.compared for part in parts if part.compared is not None]
    return Findings(
        np.concatenate([part.losses for part in parts]),
        np.concatenate(base_losses) if base_losses else None,
        Compared(*map(np.concatenate, zip(*compared, strict=True))) if compared else None,
    )
