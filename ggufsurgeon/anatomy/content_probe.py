"""The probe of an anatomy: the log-probability of the contents in plain English."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.model import Model
from ggufsurgeon.scanning.probes.probe import Item, TokenSequence


@dataclass(frozen=True)
class ContentProbe:
    """The mean log-probability of the tokens of a sentence after its first, in nats per token."""

    texts: tuple[str, ...]

    name = "contents"
    unit = "nats per token"

    def settings(self) -> Mapping[str, Any]:
        """Empty: the tokens of the items define the measurement."""
        return {}

    def items(self, model: Model) -> Sequence[Item]:
        """An item for each sentence."""
        return [
            Item(text, (TokenSequence(model.tokenize(text.encode()), 1),)) for text in self.texts
        ]

    def score(self, index: int, log_probs: Sequence[npt.NDArray[np.float64]]) -> float:
        """The mean over the tokens."""
        return float(log_probs[0].mean())
