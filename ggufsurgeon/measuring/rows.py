"""The logits of scored tokens: of a model as it is, or routed along layer paths."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama.model import Model
from ggufsurgeon.measuring.scoring import Chunks, Scored, scored_rows
from ggufsurgeon.measuring.task import Side
from ggufsurgeon.routing.router import opened_router


def side_rows(
    model: Model, chunks: Chunks, side: Side, n_done: int, *, is_routed: bool
) -> Generator[list[Scored], None, None]:
    """Those of one side, from chunk `n_done` on, by routing or plainly; a list is of one decode."""
    if not is_routed:
        return scored_rows(model, chunks, n_done)
    routed = routed_rows(model, chunks, [path_of(side, model)], n_done)
    return ([scored] for (scored,) in routed)


def path_of(side: Side, model: Model) -> LayerPath:
    """Its layer path, which is all blocks where it has none."""
    return side.layer_path or LayerPath.identity(model.n_blocks)


def routed_rows(
    model: Model, chunks: Chunks, paths: Sequence[LayerPath], n_done: int = 0
) -> Generator[tuple[Scored, ...], None, None]:
    """For each chunk from `n_done` on what it gives along each path, whole, in its own memory.

    Chunks run one at a time, in batches of up to 512 tokens. Raises RefusedError for a path that
    cannot be routed.
    """
    n_ctx = chunks.tokens.shape[1]
    wanted = np.arange(n_ctx) >= chunks.first
    with opened_router([model], n_ctx) as router:
        for n, tokens in enumerate(chunks.tokens[n_done:], n_done):
            inputs = tokens.copy()
            if chunks.begins_with is not None:
                inputs[0] = chunks.begins_with
            targets = tokens[chunks.first + 1 :]
            logits = router.logits(inputs, paths, wanted)
            yield tuple(Scored(n, 0, targets, rows[:-1]) for rows in logits)
