"""The logits of scored tokens: of a model as it is, or routed along layer paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from ggufsurgeon.engine.context import Batch, Integers, Results, opened_context
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.router import opened_router
from ggufsurgeon.scoring.chunks import N_UBATCH, Chunks, decodes, micro_batches


class LogitRows(NamedTuple):
    """The logits at some consecutive scored positions of a chunk."""

    chunk: int
    first: int
    """Place of the first position among the scored positions of the chunk."""
    targets: Integers
    """The tokens that follow, [n]."""
    logits: Results
    """float32 [n, n_vocab]: a view of llama.cpp's memory, which holds until the next decode."""


class Decoded(NamedTuple):
    """What one decode of a group of chunks gives along one layer path."""

    path: int
    """The index of the path."""
    rows: list[LogitRows]
    """One for each chunk of the group; none where no position is scored."""


GroupRows: TypeAlias = Callable[[int, Sequence[LayerPath]], Iterator[Decoded]]
"""Decodes the group of chunks that begins with a chunk along layer paths, path by path."""


@contextmanager
def opened_rows(models: Model | Sources, chunks: Chunks, *, is_routed: bool) -> Iterator[GroupRows]:
    """A context in which groups of chunks run: routed, or the first model as it is.

    The model as it is and a routed path of all blocks give equal logits: batches are the same. The
    model as it is runs a group once, whatever the paths. Of routed paths put that of all blocks
    first: its pass gives the states for the others. Memory for logits is that
    of one micro-batch: 512 rows of the vocabulary, or n_seq if there are more. Raises RefusedError
    for a path that cannot be routed, MalformedFileError when llama.cpp fails.
    """
    sources = Sources.of(models)
    plain = sources.models[0]
    opened = _opened_routed(sources, chunks) if is_routed else _opened_plain(plain, chunks)
    with opened as rows:
        yield rows


@contextmanager
def _opened_plain(model: Model, chunks: Chunks) -> Iterator[GroupRows]:
    n_ctx, wanted = chunks.tokens.shape[1], chunks.wanted
    # Of sliding windows no more is kept than a micro-batch can see: as in llama-perplexity.
    with opened_context(
        model, chunks.n_seq * n_ctx, chunks.n_batch, chunks.n_seq, keeps_all_windows=False
    ) as context:

        def rows(group: int, _paths: Sequence[LayerPath]) -> Iterator[Decoded]:
            inputs = chunks.inputs(group)
            context.clear()
            for piece in decodes(chunks, micro_batches(chunks, len(inputs))):
                batch = Batch.side_by_side(inputs[:, piece], piece.start, wanted[piece])
                yield Decoded(0, _scored(chunks, group, piece, context.decode(batch)))

        yield rows


@contextmanager
def _opened_routed(sources: Sources, chunks: Chunks) -> Iterator[GroupRows]:
    n_ctx, wanted = chunks.tokens.shape[1], chunks.wanted
    n_batch = min(N_UBATCH, chunks.n_batch)
    with opened_router(
        sources, n_ctx, chunks.n_seq, n_batch=n_batch, keeps_all_windows=False
    ) as router:

        def rows(group: int, paths: Sequence[LayerPath]) -> Iterator[Decoded]:
            inputs = chunks.inputs(group)
            pieces = micro_batches(chunks, len(inputs))
            batches = [
                Batch.side_by_side(inputs[:, piece], piece.start, wanted[piece]) for piece in pieces
            ]
            for path, n, logits in router.stream(batches, paths):
                yield Decoded(path, _scored(chunks, group, pieces[n], logits))

        yield rows


def _scored(chunks: Chunks, group: int, piece: slice, logits: Results) -> list[LogitRows]:
    """The scored positions of a decoded piece, chunk by chunk of a group."""
    tokens = chunks.of_group(group)
    n_seq, n_ctx = tokens.shape
    first, last = max(piece.start, chunks.first), min(piece.stop, n_ctx - 1)
    if first >= last:
        return []
    rows = logits.reshape(n_seq, -1, logits.shape[1])
    skipped = first - piece.start if chunks.wants_all else 0
    targets = tokens[:, first + 1 : last + 1]
    wanted = rows[:, skipped : skipped + last - first]
    place = first - chunks.first
    return [LogitRows(group + n, place, targets[n], wanted[n]) for n in range(n_seq)]
