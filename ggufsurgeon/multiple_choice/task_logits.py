"""Logits for tasks: shared beginnings once in a model as it is, or along layer paths, routed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np

from ggufsurgeon.engine.context import Batch, Context, Results, opened_context
from ggufsurgeon.engine.model import Model
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.multiple_choice.packing import PackedTask
from ggufsurgeon.routing.router import Router, opened_router

N_SEQUENCES = 4
"""At once; with the next two llama-perplexity's defaults (tools/perplexity/perplexity.cpp:2006),
since which tasks share a batch changes how llama.cpp rounds."""
N_CTX = 512
"""Tokens of context for each sequence."""
N_BATCH = 2048


def logits_along(
    paths: Sequence[LayerPath], model: Model, tasks: Sequence[PackedTask]
) -> Generator[list[Results], None, None]:
    """For each task the logits of its wanted rows along each path, or of the model as it is."""
    yield from routed_logits(model, tasks, paths) if paths else shared_logits(model, tasks)


def shared_logits(model: Model, tasks: Sequence[PackedTask]) -> Iterator[list[Results]]:
    """For each task the logits of its wanted rows, [n_wanted, n_vocab], alone in a list.

    They are views that hold until the next is asked for.
    """
    n_sequences = max(N_SEQUENCES, *(task.n_sequences for task in tasks))
    n_ctx = max(N_CTX * n_sequences, *(len(task.tokens) for task in tasks))
    n_batch = min(N_BATCH, n_ctx)
    with opened_context(model, n_ctx, n_batch, n_sequences, sharing=True) as context:
        for group in _groups(tasks, n_ctx, n_sequences):
            context.clear()
            logits = _decode(context, _batch(group), n_batch)
            ends = np.cumsum([task.wanted.sum() for task in group])
            for rows in np.split(logits, ends[:-1]):
                yield [rows]


def _groups(
    tasks: Sequence[PackedTask], n_ctx: int, n_sequences: int
) -> Iterator[list[PackedTask]]:
    """Tasks that fit a context together."""
    group: list[PackedTask] = []
    for task in tasks:
        alike = [*group, task]
        n_rows = sum(len(one.tokens) for one in alike)
        if n_rows > n_ctx or sum(one.n_sequences for one in alike) > n_sequences:
            yield group
            group = []
        group.append(task)
    yield group


def _batch(group: Sequence[PackedTask]) -> Batch:
    first = np.cumsum([0, *(task.n_sequences for task in group)], dtype=np.int32)
    return Batch(
        tokens=np.concatenate([task.tokens for task in group]),
        positions=np.concatenate([task.positions for task in group]),
        sequences=np.concatenate(
            [task.sequences + at for task, at in zip(group, first, strict=False)]
        ),
        wanted=np.concatenate([task.wanted for task in group]),
        n_sharing=np.concatenate([task.n_sharing for task in group]),
    )


def _decode(context: Context, batch: Batch, n_batch: int) -> Results:
    n = len(batch.tokens)
    if n <= n_batch:
        return context.decode(batch)
    pieces = [batch.part(slice(start, start + n_batch)) for start in range(0, n, n_batch)]
    return np.concatenate([np.array(context.decode(piece)) for piece in pieces])


def routed_logits(
    model: Model, tasks: Sequence[PackedTask], paths: Sequence[LayerPath]
) -> Iterator[list[Results]]:
    """For each task the logits of its wanted rows along each path, [n_wanted, n_vocab].

    Each choice is a sequence of its own, from the beginning.
    """
    n_ctx = max(int(task.positions.max()) + 1 for task in tasks)
    with opened_router([model], n_ctx) as router:
        for task in tasks:
            parts = list(_routed_parts(router, task, paths))
            yield [np.concatenate(part) for part in zip(*parts, strict=True)]


def _routed_parts(
    router: Router, task: PackedTask, paths: Sequence[LayerPath]
) -> Iterator[list[Results]]:
    """Wanted rows in their order: those that choices share count to the first of them."""
    for sequence in range(task.n_sequences):
        rows = task.rows_of(sequence)
        wanted = (task.wanted & (task.sequences == sequence))[rows]
        if wanted.any():
            yield list(router.logits(task.tokens[rows], paths, wanted))
