"""The embeddings of a short text, as a check that an encoder runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ggufsurgeon.engine.context import Batch, opened_context
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import MalformedFileError


@dataclass(frozen=True)
class Embedding:
    """The number and the size of the embeddings of a text."""

    n_tokens: int
    n_embd: int


def embed_text(model: Model, text: bytes) -> Embedding:
    """Run an encoder on as much of `text` as it was trained for.

    Raises MalformedFileError when the embeddings are not finite numbers.
    """
    tokens = model.tokenize(text)[: model.n_ctx_train]
    with opened_context(model, len(tokens), n_batch=len(tokens)) as context:
        embeddings = context.decode(Batch.of(tokens))
        if not np.isfinite(embeddings).all():
            raise MalformedFileError(str(model.path), "its embeddings are not finite numbers")
        return Embedding(*embeddings.shape)
