"""The logits of scored tokens along layer paths, without a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama.model import Model
from ggufsurgeon.measuring.scoring import Chunks, Scored
from ggufsurgeon.routing.router import opened_router


def routed_rows(
    model: Model, chunks: Chunks, paths: Sequence[LayerPath]
) -> Iterator[tuple[Scored, ...]]:
    """For each chunk what it gives along each of the paths, whole, in memory of its own.

    Chunks run one at a time, in batches of up to 512 tokens. Raises RefusedError for a path that
    cannot be routed.
    """
    n_ctx = chunks.tokens.shape[1]
    wanted = np.arange(n_ctx) >= chunks.first
    with opened_router([model], n_ctx) as router:
        for n, tokens in enumerate(chunks.tokens):
            inputs = tokens.copy()
            if chunks.begins_with is not None:
                inputs[0] = chunks.begins_with
            targets = tokens[chunks.first + 1 :]
            logits = router.logits(inputs, paths, wanted)
            yield tuple(Scored(n, 0, targets, rows[:-1]) for rows in logits)
