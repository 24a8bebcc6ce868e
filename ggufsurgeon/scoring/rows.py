"""The logits of scored tokens: of a model as it is, or routed along a layer path."""

from __future__ import annotations

from collections.abc import Generator

from ggufsurgeon.engine.model import Model
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.router import opened_router
from ggufsurgeon.scoring.chunks import (
    N_UBATCH,
    Chunks,
    Scored,
    inputs_of,
    micro_batches,
    scored_of,
    scored_rows,
    wanted_of,
)
from ggufsurgeon.scoring.task import Side


def side_rows(
    model: Model, chunks: Chunks, side: Side, n_done: int, *, is_routed: bool
) -> Generator[list[Scored], None, None]:
    """Those of one side, from chunk `n_done` on, by routing or plainly; a list is of one decode.

    A side without a layer path is routed along all blocks. Raises RefusedError for a path that
    cannot be routed, MalformedFileError when llama.cpp fails.
    """
    if not is_routed:
        return scored_rows(model, chunks, n_done)
    return _routed_rows(
        model, chunks, side.layer_path or LayerPath.identity(model.n_blocks), n_done
    )


def _routed_rows(
    model: Model, chunks: Chunks, path: LayerPath, n_done: int
) -> Generator[list[Scored], None, None]:
    """In the batches of `scored_rows`, so that they are rounded alike."""
    n_chunks, n_ctx = chunks.tokens.shape
    wanted = wanted_of(chunks)
    n_batch = min(N_UBATCH, chunks.n_batch)
    with opened_router(
        [model], n_ctx, chunks.n_seq, n_batch=n_batch, keeps_all_windows=False
    ) as router:
        for group in range(n_done, n_chunks, chunks.n_seq):
            inputs = inputs_of(chunks, group)
            pieces = micro_batches(chunks, len(inputs))
            decodes = router.stream(inputs, path, wanted, pieces)
            for piece, logits in zip(pieces, decodes, strict=True):
                if scored := scored_of(chunks, group, piece, logits):
                    yield scored
