"""A text in chunks, and the batches in which they are decoded, as llama-perplexity has them.

The tokens of the text are cut into chunks of n_ctx; in each, BOS replaces the first token where
the model adds one, and the second half is scored, so that every token has at least n_ctx/2
tokens of context (tools/perplexity/perplexity.cpp:442-596 in llama.cpp of 2026-10-01). With a
stride, chunks overlap (llama_perplexity/stride.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ggufsurgeon.engine.context import MAX_SEQUENCES, Flags, Integers
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.llama_perplexity.stride import strided_chunks, window_length

N_UBATCH = 512
"""Tokens that llama.cpp computes at once, by default (src/llama-context.cpp:3758)."""


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

    @property
    def chunk_length(self) -> int:
        """Tokens of a chunk: `n_ctx`, or more with a stride.

        Raises UsageError for a stride that does not fit a context.
        """
        return self.n_ctx if self.stride is None else window_length(self.n_ctx, self.stride)


@dataclass(frozen=True)
class Chunks:
    """The chunks of a text, which of their tokens are scored, and how they share batches."""

    tokens: Integers
    """Tokens as the text has them, [n_chunks, n_ctx]."""
    first: int
    """The first position whose logits are scored; the last one is n_ctx - 2."""
    n_seq: int
    """Chunks decoded together, a group: they decide how each is rounded, so it is fixed."""
    n_batch: int
    begins_with: int | None
    """The token that replaces the first of each chunk."""
    wants_all: bool = False
    """Whether all positions get logits, as llama-perplexity asks with a stride."""

    @property
    def n_scored(self) -> int:
        """Scored positions of a chunk."""
        return int(self.tokens.shape[1]) - 1 - self.first

    @property
    def targets(self) -> Integers:
        """The scored tokens, [n_chunks, n_scored]."""
        return self.tokens[:, self.first + 1 :]

    @property
    def groups(self) -> range:
        """The first chunk of each group."""
        return range(0, len(self.tokens), self.n_seq)

    def of_group(self, group: int) -> Integers:
        """The tokens of the chunks of a group, as the text has them, [n_group, n_ctx]."""
        return self.tokens[group : group + self.n_seq]

    def inputs(self, group: int) -> Integers:
        """The tokens that are decoded for the chunks of a group, [n_group, n_ctx]."""
        inputs: Integers = self.of_group(group).copy()
        if self.begins_with is not None:
            inputs[:, 0] = self.begins_with
        return inputs

    @property
    def wanted(self) -> Flags:
        """Which positions of a chunk get logits, [n_ctx]."""
        wanted: Flags = np.arange(self.tokens.shape[1]) >= self.first
        return wanted | self.wants_all


def cut_text(model: Model, text: bytes, settings: TextSettings) -> Chunks:
    """The chunks of `text`.

    Raises UsageError when the text has fewer than two chunks or the model is not a language
    model.
    """
    if model.no_text:
        raise UsageError(f"{model.path} cannot be measured on text: {model.no_text}")
    if model.adds_eos:
        raise UsageError(f"{model.path} ends every text with EOS; its perplexity is not defined")
    n_ctx = settings.chunk_length
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


def _strided(tokens: Integers, n_ctx: int, stride: int, settings: TextSettings) -> Chunks:
    return Chunks(
        tokens=strided_chunks(tokens, n_ctx, stride, settings.n_chunks),
        first=n_ctx - stride - 1,
        n_seq=1,
        n_batch=min(settings.n_batch, settings.n_ctx),
        begins_with=None,
        wants_all=True,
    )


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


def decodes(chunks: Chunks, pieces: Sequence[slice]) -> Iterator[slice]:
    """Positions to decode one after the other, made of the micro-batches `pieces`.

    Where tokens are scored, each micro-batch is decoded by itself: the arithmetic is that of the
    whole batch, while the logits of one alone are held. Others go as batches, which is faster.
    """
    first = 0 if chunks.wants_all else chunks.first
    unscored = [piece for piece in pieces if piece.stop <= first]
    for _, batch in groupby(unscored, lambda piece: piece.start // chunks.n_batch):
        of_one = list(batch)
        yield slice(of_one[0].start, of_one[-1].stop)
    yield from pieces[len(unscored) :]
