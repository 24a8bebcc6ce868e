"""A text in chunks, and the logits of its scored tokens, as llama-perplexity has them.

The tokens of the text are cut into chunks of n_ctx; in each, BOS replaces the first token where
the model adds one, and the second half is scored, so that every token has at least n_ctx/2
tokens of context (tools/perplexity/perplexity.cpp:442-596 in llama.cpp of 2026-10-01).

With a stride, chunks overlap, each scores its last `stride` tokens, and BOS replaces nothing:
that tool puts it where no batch sees it (perplexity.cpp:278-429).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import (
    MAX_SEQUENCES,
    Batch,
    Flags,
    Integers,
    Results,
    opened_context,
)
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError

N_UBATCH = 512
"""Tokens that llama.cpp computes at once, by default (src/llama-context.cpp:3758)."""
CONTEXT_STEP = 256
"""llama.cpp rounds contexts up to multiples of it (src/llama-context.cpp:290-296)."""


@dataclass(frozen=True)
class TextSettings:
    """How a text is cut into chunks and scored. The defaults are llama-perplexity's.

    >>> import ggufsurgeon as gs
    >>> settings = gs.TextSettings(n_ctx=64, n_chunks=2)
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     found = model.perplexity(b"Once upon a time. " * 60, settings=settings)
    >>> found.n_chunks, found.n_scored
    (2, 62)
    """

    n_ctx: int = 512
    """Number of tokens in a chunk."""
    n_chunks: int | None = None
    """Largest number of chunks; None for the whole text."""
    n_batch: int = 2048
    """Number of tokens decoded at once; several chunks share a batch that has room for them."""
    stride: int | None = None
    """Tokens from one chunk to the next, and scored in each; None for half of a chunk scored."""


@dataclass(frozen=True)
class Chunks:
    """What is decoded, and what is scored."""

    tokens: Integers
    """As the text has them, shape [n_chunks, n_ctx]."""
    first: int
    """The first position whose logits are scored; the last but one of n_ctx is the last."""
    n_seq: int
    """Chunks decoded together: their rounding depends on their company, so it is fixed."""
    n_batch: int
    begins_with: int | None
    """The token that replaces the first of each chunk."""
    wants_all: bool = False
    """Whether all positions get logits, as llama-perplexity asks with a stride."""

    @property
    def n_scored(self) -> int:
        """Scored positions of a chunk."""
        return int(self.tokens.shape[1]) - 1 - self.first


class Scored(NamedTuple):
    """Some consecutive scored positions of a chunk."""

    chunk: int
    first: int
    """Place of the first of them among the scored positions of the chunk."""
    targets: Integers
    """The tokens that follow, shape [n]."""
    logits: Results
    """Shape [n, n_vocab]: a view of llama.cpp's memory, which holds until the next decode."""

    @property
    def place(self) -> tuple[int, int]:
        """The chunk, and the place of the first position in it."""
        return self.chunk, self.first


def cut_text(model: Model, text: bytes, settings: TextSettings) -> Chunks:
    """The chunks of `text`.

    Raises UsageError when the text has fewer than two chunks or the model is not a language
    model.
    """
    if model.no_text:
        raise UsageError(f"{model.path} cannot be measured on text: {model.no_text}")
    if model.adds_eos:
        raise UsageError(f"{model.path} ends every text with EOS; its perplexity is not defined")
    n_ctx = chunk_length(settings)
    tokens = model.tokenize(text)
    if len(tokens) < 2 * n_ctx:
        raise UsageError(
            f"the text has {len(tokens)} tokens, a context of {n_ctx} needs at least {2 * n_ctx}",
            hint="Use a longer text or a smaller context.",
        )
    if settings.stride is not None:
        return _strided(tokens, n_ctx, settings.stride, settings)
    n_chunks = min(len(tokens) // n_ctx, settings.n_chunks or len(tokens))
    n_seq = min(max(1, settings.n_batch // n_ctx), n_chunks, MAX_SEQUENCES)
    return Chunks(
        tokens=tokens[: n_chunks * n_ctx].reshape(n_chunks, n_ctx),
        first=n_ctx // 2,
        n_seq=n_seq,
        n_batch=min(settings.n_batch, n_seq * n_ctx),
        begins_with=model.bos if model.adds_bos else None,
    )


def chunk_length(settings: TextSettings) -> int:
    """Tokens of a chunk: with a stride, what llama.cpp makes of n_ctx + stride / 2."""
    if settings.stride is None:
        return settings.n_ctx
    window = settings.n_ctx + settings.stride // 2
    window += -window % CONTEXT_STEP
    if not 0 < settings.stride < window:
        raise UsageError(
            f"a stride of {settings.stride} does not fit a context of {settings.n_ctx}",
            hint="Use a stride from 1 to the size of the context.",
        )
    return window


def _strided(tokens: Integers, n_ctx: int, stride: int, settings: TextSettings) -> Chunks:
    """Overlapping chunks; they share memory with `tokens`."""
    n_most = -(-(len(tokens) - n_ctx) // stride)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, n_ctx)[::stride]
    return Chunks(
        tokens=windows[: min(n_most, settings.n_chunks or n_most)],
        first=n_ctx - stride - 1,
        n_seq=1,
        n_batch=min(settings.n_batch, settings.n_ctx),
        begins_with=None,
        wants_all=True,
    )


def scored_rows(
    model: Model, chunks: Chunks, n_done: int = 0
) -> Generator[list[Scored], None, None]:
    """The logits of all scored positions, from chunk `n_done` on, a multiple of `chunks.n_seq`.

    A list is what one decode gives, of each of the n_seq chunks that share it; those of a chunk
    come in order. Memory is that of one micro-batch: 512 rows of the vocabulary at most, or n_seq
    if there are more. Raises MalformedFileError when llama.cpp fails.
    """
    n_chunks, n_ctx = chunks.tokens.shape
    n_seq = chunks.n_seq
    wanted = wanted_of(chunks)
    # Of sliding windows no more is kept than a micro-batch can see: as in llama-perplexity.
    with opened_context(
        model, n_seq * n_ctx, chunks.n_batch, n_seq, keeps_all_windows=False
    ) as context:
        for group in range(n_done, n_chunks, n_seq):
            inputs = inputs_of(chunks, group)
            context.clear()
            for piece in _together(chunks, micro_batches(chunks, len(inputs))):
                batch = Batch.side_by_side(inputs[:, piece], piece.start, wanted[piece])
                if scored := scored_of(chunks, group, piece, context.decode(batch)):
                    yield scored


def micro_batches(chunks: Chunks, n_seq: int) -> list[slice]:
    """Positions that llama.cpp computes at once, of `n_seq` chunks that share a batch.

    They decide how it rounds (src/llama-batch.cpp:542-635).
    """
    n_ctx = chunks.tokens.shape[1]
    step = max(1, N_UBATCH // n_seq)
    batches = [(at, min(at + chunks.n_batch, n_ctx)) for at in range(0, n_ctx, chunks.n_batch)]
    return [
        slice(begin, min(begin + step, end))
        for start, end in batches
        for begin in range(start, end, step)
    ]


def _together(chunks: Chunks, pieces: Sequence[slice]) -> Iterator[slice]:
    """What to decode one after the other.

    Where tokens are scored, each micro-batch is decoded by itself: the arithmetic is that of the
    whole batch, while the logits of one alone are held. Others go as batches, which is faster.
    """
    first = 0 if chunks.wants_all else chunks.first
    unscored = [piece for piece in pieces if piece.stop <= first]
    for _, batch in groupby(unscored, lambda piece: piece.start // chunks.n_batch):
        of_one = list(batch)
        yield slice(of_one[0].start, of_one[-1].stop)
    yield from pieces[len(unscored) :]


def inputs_of(chunks: Chunks, group: int) -> Integers:
    """What is decoded for the n_seq chunks from `group` on, or the last of them, [n_seq, n_ctx]."""
    inputs: Integers = chunks.tokens[group : group + chunks.n_seq].copy()
    if chunks.begins_with is not None:
        inputs[:, 0] = chunks.begins_with
    return inputs


def wanted_of(chunks: Chunks) -> Flags:
    """Which positions of a chunk get logits, [n_ctx]."""
    wanted: Flags = np.arange(chunks.tokens.shape[1]) >= chunks.first
    return wanted | chunks.wants_all


def scored_of(chunks: Chunks, group: int, piece: slice, logits: Results) -> list[Scored]:
    """What of the logits of a piece is scored, chunk by chunk from `group` on."""
    tokens = chunks.tokens[group : group + chunks.n_seq]
    n_seq, n_ctx = tokens.shape
    first, last = max(piece.start, chunks.first), min(piece.stop, n_ctx - 1)
    if first >= last:
        return []
    rows = logits.reshape(n_seq, -1, logits.shape[1])
    skipped = first - piece.start if chunks.wants_all else 0
    targets = tokens[:, first + 1 : last + 1]
    wanted = rows[:, skipped : skipped + last - first]
    place = first - chunks.first
    return [Scored(group + n, place, targets[n], wanted[n]) for n in range(n_seq)]
