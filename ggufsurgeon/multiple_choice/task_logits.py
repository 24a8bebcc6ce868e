"""Logits of tasks: shared prefixes once in the unmodified model, or routed along layer paths."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np

from ggufsurgeon.engine.context import Batch, Context, Results, opened_context
from ggufsurgeon.engine.model import Model
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama_perplexity.task_batches import (
    N_BATCH,
    N_CTX,
    N_SEQUENCES,
    TaskSize,
    batches,
)
from ggufsurgeon.multiple_choice.packing import PackedTask
from ggufsurgeon.routing.router import Router, opened_router


def logits_along(
    paths: Sequence[LayerPath], model: Model, tasks: Sequence[PackedTask]
) -> Generator[list[Results], None, None]:
    """For each task its logits along each path; without paths, those of the unmodified model."""
    yield from routed_logits(model, tasks, paths) if paths else shared_logits(model, tasks)


def shared_logits(model: Model, tasks: Sequence[PackedTask]) -> Iterator[list[Results]]:
    """For each task its logits in the unmodified model, [n_wanted, n_vocab], alone in a list.

    They are views that are valid until the next task is asked for.
    """
    sizes = [TaskSize(len(task.tokens), task.n_sequences) for task in tasks]
    n_sequences = max(N_SEQUENCES, *(size.n_sequences for size in sizes))
    n_ctx = max(N_CTX * n_sequences, *(size.n_tokens for size in sizes))
    n_batch = min(N_BATCH, n_ctx)
    with opened_context(model, n_ctx, n_batch, n_sequences, sharing=True) as context:
        for group in batches(sizes, n_ctx, n_sequences):
            context.clear()
            logits = _decode(context, _batch(tasks[group]), n_batch)
            ends = np.cumsum([task.wanted.sum() for task in tasks[group]])
            for rows in np.split(logits, ends[:-1]):
                yield [rows]


def _batch(tasks: Sequence[PackedTask]) -> Batch:
    """The tokens of several tasks, each in sequences of its own."""
    first = np.cumsum([0, *(task.n_sequences for task in tasks)], dtype=np.int32)
    return Batch(
        tokens=np.concatenate([task.tokens for task in tasks]),
        positions=np.concatenate([task.positions for task in tasks]),
        sequences=np.concatenate(
            [task.sequences + at for task, at in zip(tasks, first, strict=False)]
        ),
        wanted=np.concatenate([task.wanted for task in tasks]),
        n_sharing=np.concatenate([task.n_sharing for task in tasks]),
    )


def _decode(context: Context, batch: Batch, n_batch: int) -> Results:
    """The logits of a batch, which is decoded in pieces if it has more than `n_batch` tokens."""
    n = len(batch.tokens)
    if n <= n_batch:
        return context.decode(batch)
    pieces = [batch.part(slice(start, start + n_batch)) for start in range(0, n, n_batch)]
    return np.concatenate([np.array(context.decode(piece)) for piece in pieces])


def routed_logits(
    model: Model, tasks: Sequence[PackedTask], paths: Sequence[LayerPath]
) -> Iterator[list[Results]]:
    """For each task its logits along each path, [n_wanted, n_vocab].

    Each choice runs as a sequence of its own, with the tokens that choices share. Raises
    RefusedError for a path that cannot be routed.
    """
    n_ctx = max(int(task.positions.max()) + 1 for task in tasks)
    with opened_router([model], n_ctx) as router:
        for task in tasks:
            parts = list(_routed_parts(router, task, paths))
            yield [np.concatenate(part) for part in zip(*parts, strict=True)]


def _routed_parts(
    router: Router, task: PackedTask, paths: Sequence[LayerPath]
) -> Iterator[list[Results]]:
    """The wanted logits of each choice along each path; those that choices share, of the first."""
    for sequence in range(task.n_sequences):
        rows = task.rows_of(sequence)
        wanted = (task.wanted & (task.sequences == sequence))[rows]
        if wanted.any():
            yield list(router.logits(task.tokens[rows], paths, wanted))
