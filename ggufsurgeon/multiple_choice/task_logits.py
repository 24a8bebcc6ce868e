"""Logits of tasks: shared prefixes once in the unmodified model, or routed along layer paths."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.context import Batch, Context, Results, opened_context
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sources import Sources
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
from ggufsurgeon.scoring.chunks import N_UBATCH


def logits_along(
    paths: Sequence[LayerPath], sources: Sources, tasks: Sequence[PackedTask]
) -> Generator[list[Results], None, None]:
    """For each task its logits along each path; without paths, those of the first model."""
    if paths:
        yield from routed_logits(sources, tasks, paths)
    else:
        yield from shared_logits(sources.models[0], tasks)


def shared_logits(model: Model, tasks: Sequence[PackedTask]) -> Iterator[list[Results]]:
    """For each task its logits in the unmodified model, [n_wanted, n_vocab], alone in a list.

    They are views that are valid until the next task is asked for.
    """
    limits = _Limits.of(tasks)
    n_batch = min(N_BATCH, limits.n_ctx)
    with opened_context(model, limits.n_ctx, n_batch, limits.n_sequences, sharing=True) as context:
        for group in limits.groups(tasks):
            context.clear()
            logits = _decode(context, _batch(group), n_batch)
            for rows in np.split(logits, _ends(group)):
                yield [rows]


class _Limits(NamedTuple):
    """What a context for tasks must hold."""

    n_ctx: int
    n_sequences: int

    @classmethod
    def of(cls, tasks: Sequence[PackedTask]) -> _Limits:
        n_sequences = max(N_SEQUENCES, *(task.n_sequences for task in tasks))
        return cls(max(N_CTX * n_sequences, *(len(task.tokens) for task in tasks)), n_sequences)

    def groups(self, tasks: Sequence[PackedTask]) -> Iterator[Sequence[PackedTask]]:
        """The tasks that run together."""
        sizes = [TaskSize(len(task.tokens), task.n_sequences) for task in tasks]
        return (tasks[group] for group in batches(sizes, self.n_ctx, self.n_sequences))


def _ends(tasks: Sequence[PackedTask]) -> npt.NDArray[np.int64]:
    """Where the logits of one task end and those of the next begin."""
    return np.cumsum([task.wanted.sum() for task in tasks])[:-1]


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
    pieces = batch.parts(n_batch)
    if len(pieces) == 1:
        return context.decode(batch)
    return np.concatenate([np.array(context.decode(piece)) for piece in pieces])


def routed_logits(
    sources: Sources, tasks: Sequence[PackedTask], paths: Sequence[LayerPath]
) -> Iterator[list[Results]]:
    """For each task its logits along each path, [n_wanted, n_vocab].

    Tasks run together as in the unmodified model; in one that has a state, each choice by itself.
    Raises RefusedError for a path that cannot be routed.
    """
    if any(model.has_state for model in sources.models):
        yield from _one_by_one(sources, tasks, paths)
        return
    limits = _Limits.of(tasks)
    together = [_batch(group) for group in limits.groups(tasks)]
    n_each = -(-max(len(batch.tokens) for batch in together) // limits.n_sequences)
    n_ctx = max(n_each, _longest(tasks))
    with opened_router(
        sources, n_ctx, limits.n_sequences, n_batch=N_UBATCH, sharing=True
    ) as router:
        for batch, group in zip(together, limits.groups(tasks), strict=True):
            parts: list[list[Results]] = [[] for _ in paths]
            for decoded in router.stream(batch.parts(N_UBATCH), paths):
                parts[decoded.path].append(np.array(decoded.logits))
            along = [np.split(np.concatenate(part), _ends(group)) for part in parts]
            yield from map(list, zip(*along, strict=True))


def _longest(tasks: Sequence[PackedTask]) -> int:
    return max(int(task.positions.max()) + 1 for task in tasks)


def _one_by_one(
    sources: Sources, tasks: Sequence[PackedTask], paths: Sequence[LayerPath]
) -> Iterator[list[Results]]:
    with opened_router(sources, _longest(tasks)) as router:
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
