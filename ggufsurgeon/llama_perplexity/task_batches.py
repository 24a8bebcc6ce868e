"""Which multiple-choice tasks llama-perplexity decodes together.

The tasks that share a batch change how llama.cpp rounds. Lines are of
tools/perplexity/perplexity.cpp in llama.cpp of 2026-10-01.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

N_SEQUENCES = 4
"""Sequences of a context by default, one for each choice (2009)."""
N_CTX = 512
"""Tokens of context for each sequence by default (1993)."""
N_BATCH = 2048
"""Most tokens of a decode by default (`n_batch`, common/common.h)."""


class TaskSize(NamedTuple):
    """The tokens and sequences that a task takes in a context."""

    n_tokens: int
    n_sequences: int


def batches(sizes: Sequence[TaskSize], n_ctx: int, n_sequences: int) -> Iterator[slice]:
    """Consecutive tasks that fit into a context together, as many as do (873-910, 1169-1196).

    The context holds `n_ctx` tokens over `n_sequences` sequences; each task fits into it alone.
    """
    first = n_tokens = n_used = 0
    for at, size in enumerate(sizes):
        n_tokens, n_used = n_tokens + size.n_tokens, n_used + size.n_sequences
        if n_tokens > n_ctx or n_used > n_sequences:
            yield slice(first, at)
            first, n_tokens, n_used = at, *size
    yield slice(first, len(sizes))
