"""The tokens that llama-perplexity scores for a winogrande task, with the fault in its source.

Lines are of tools/perplexity/perplexity.cpp in llama.cpp of 2026-10-01.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ggufsurgeon.llama_perplexity.softmax import Integers

Span: TypeAlias = tuple[int, int]
"""The scored tokens of a sequence: the first, and the one behind the last."""

MIN_TRAILING = 3
"""The choice itself is scored too where either sentence has no more tokens than this behind the
tokens that both share (`k_min_trailing_ctx`, 1086)."""


def scored_spans(lengths: Sequence[int], n_common: int, n_begun: Sequence[int]) -> list[Span]:
    """The scored tokens of the sentences of a task (1216-1233): those that follow the choice.

    `lengths` are the numbers of tokens of the sentences, `n_common` is the number of tokens that
    all begin with, and `n_begun` those of each sentence up to and with its choice. The last token,
    usually a full stop, counts only where it is the only one.
    """
    if min(lengths) - n_common <= MIN_TRAILING:
        n_begun = [n_common] * len(lengths)
    ends = [max(n - 1, first + 1) for n, first in zip(lengths, n_begun, strict=True)]
    return [(first, min(end, n)) for first, end, n in zip(n_begun, ends, lengths, strict=True)]


def rows_read(
    rows: Sequence[Integers], spans: Sequence[Span], n_common: int, n_first: int
) -> list[Integers]:
    """The rows whose logits are read, from those that predict the scored tokens, each [n_scored].

    Where the second sentence is scored from the first token that differs, that token is read from
    the row that ends the first sentence, of `n_first` tokens (the FIXME in 1228). Rows count the
    tokens that both sentences share, then the rest of the first, then the rest of the second.
    """
    first, second = (each.copy() for each in rows)
    if spans[1][0] == n_common:
        second[0] = n_first - 1
    return [first, second]


def first_requested(n_shared: int) -> int:
    """The first row whose logits are requested: all from the last shared token on are (1176-1185).

    Most are not read, but how many are requested changes how llama.cpp rounds.
    """
    return max(n_shared - 1, 0)
