"""The logits of scored tokens: of a model as it is, or routed along a layer path."""

from __future__ import annotations

from collections.abc import Generator, Sequence

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
    """The logits of one side, from chunk `n_done` on; a list is what one decode gives.

    A side without a layer path is routed along all blocks. Raises RefusedError for a path that
    cannot be routed, MalformedFileError when llama.cpp fails.
    """
    if not is_routed:
        yield from scored_rows(model, chunks, n_done)
        return
    for _, scored in path_rows(model, chunks, [path_of(side, model)], n_done):
        yield scored


def path_of(side: Side, model: Model) -> LayerPath:
    """The layer path of a side; that of all blocks where it has none."""
    return side.layer_path or LayerPath.identity(model.n_blocks)


def path_rows(
    model: Model, chunks: Chunks, paths: Sequence[LayerPath], n_done: int
) -> Generator[tuple[int, list[Scored]], None, None]:
    """The logits along several paths, each list with the index of its path.

    Of each group of chunks that share a batch, those of the first path come first, then those of
    the next. The batches are those of `scored_rows`, so that all round alike. Put the path of all
    blocks first: its pass gives the states for the others. Raises as `side_rows`.
    """
    n_chunks, n_ctx = chunks.tokens.shape
    wanted = wanted_of(chunks)
    n_batch = min(N_UBATCH, chunks.n_batch)
    with opened_router(
        [model], n_ctx, chunks.n_seq, n_batch=n_batch, keeps_all_windows=False
    ) as router:
        for group in range(n_done, n_chunks, chunks.n_seq):
            inputs = inputs_of(chunks, group)
            pieces = micro_batches(chunks, len(inputs))
            for path, piece, logits in router.stream(inputs, paths, wanted, pieces):
                if scored := scored_of(chunks, group, piece, logits):
                    yield path, scored
