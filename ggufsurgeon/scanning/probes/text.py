"""The probe of a text: how likely the model finds each chunk of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.model import Model
from ggufsurgeon.scanning.probes.probe import Item, TokenSequence
from ggufsurgeon.scoring.chunks import TextSettings, cut_text


@dataclass(frozen=True)
class TextProbe:
    """The mean log-probability of the tokens of a chunk: its negative loss.

    Chunks are those of llama-perplexity, of whose tokens the second half is scored.
    """

    text: bytes
    n_ctx: int = 512
    """Tokens of a chunk."""
    n_chunks: int | None = None
    """Largest number of chunks; None for the whole text."""

    name = "text"
    unit = "nats per token"

    def settings(self) -> Mapping[str, Any]:
        """Nothing but the tokens."""
        return {}

    def items(self, model: Model) -> Sequence[Item]:
        """The chunks of the text. Raises UsageError for a text of fewer than two."""
        chunks = cut_text(model, self.text, TextSettings(self.n_ctx, self.n_chunks))
        items = []
        for number in range(len(chunks.tokens)):
            tokens = chunks.tokens[number].copy()
            if chunks.begins_with is not None:
                tokens[0] = chunks.begins_with
            items.append(Item(f"chunk {number}", (TokenSequence(tokens, chunks.first + 1),)))
        return items

    def score(self, index: int, log_probs: Sequence[npt.NDArray[np.float64]]) -> float:
        """The mean over the scored tokens."""
        return float(log_probs[0].mean())
