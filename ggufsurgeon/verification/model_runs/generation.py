"""A short greedy generation, as a check that a model runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ggufsurgeon.engine.context import Batch, opened_context
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import MalformedFileError


@dataclass(frozen=True)
class Generation:
    """The greedy continuation of a prompt."""

    n_tokens: int
    text: str


def generate_greedily(model: Model, prompt: bytes, n_tokens: int) -> Generation:
    """Up to `n_tokens` most likely tokens after `prompt`.

    Raises MalformedFileError when the logits are not finite numbers.
    """
    tokens = model.tokenize(prompt)
    said: list[int] = []
    n_ctx = len(tokens) + n_tokens
    with opened_context(model, n_ctx, n_batch=n_ctx) as context:
        position = 0
        while len(said) < n_tokens:
            positions = np.arange(position, position + len(tokens), dtype=np.int32)
            wanted = np.arange(len(tokens)) == len(tokens) - 1
            batch = Batch(tokens, positions, np.zeros_like(tokens), wanted)
            logits = context.decode(batch)[0]
            if not np.isfinite(logits).all():
                raise MalformedFileError(str(model.path), "its logits are not finite numbers")
            position += len(tokens)
            tokens = np.array([logits.argmax()], dtype=np.int32)
            if model.ends_generation(int(tokens[0])):
                break
            said.append(int(tokens[0]))
    text = b"".join(model.text_of(token) for token in said).decode("utf-8", "replace")
    return Generation(len(said), text)
