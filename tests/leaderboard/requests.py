"""Requests that share beginnings, in tokens, drawn by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.leaderboard.answering.encoding import GenerationTokens, LikelihoodTokens


def drawn(generator: np.random.Generator, n_tokens: int, n_vocab: int) -> Integers:
    return generator.integers(3, n_vocab, n_tokens).astype(np.int32)


def few_shot_contexts(n_vocab: int, lengths: Sequence[int], *, seed: int = 0) -> list[Integers]:
    """Questions behind few-shot prompts of these lengths, four behind each."""
    generator = np.random.default_rng(seed)
    found = []
    for n_tokens in lengths:
        few_shot = drawn(generator, n_tokens, n_vocab)
        for n_question in (1, 5, 17, 30):
            found.append(np.concatenate([few_shot, drawn(generator, n_question, n_vocab)]))
    return found


def likelihood_requests(
    n_vocab: int, lengths: Sequence[int] = (40, 7, 120), *, seed: int = 0
) -> dict[int, LikelihoodTokens]:
    """Three choices of one token for each question, one of two and one of five, and some odd
    ones: a question that goes on where another ends, and a prompt of one token."""
    generator = np.random.default_rng(seed + 1)
    found: list[LikelihoodTokens] = []
    for context in few_shot_contexts(n_vocab, lengths, seed=seed):
        for n_tokens in (1, 1, 1, 2, 5):
            found.append(LikelihoodTokens(context, drawn(generator, n_tokens, n_vocab), 0))
    last = found[-1]
    longer = np.concatenate([last.context, last.continuation, drawn(generator, 3, n_vocab)])
    found.append(LikelihoodTokens(longer, drawn(generator, 2, n_vocab), 0))
    found.append(LikelihoodTokens(longer[:1], longer[1:3], 0))
    order = generator.permutation(len(found))
    return {number: found[at] for number, at in enumerate(order)}


def generation_requests(
    n_vocab: int, lengths: Sequence[int] = (40, 7), max_tokens: int = 9, *, seed: int = 0
) -> dict[int, GenerationTokens]:
    """A text for each question, of different lengths; one prompt is the beginning of another."""
    contexts = few_shot_contexts(n_vocab, lengths, seed=seed)
    contexts += [contexts[0][:-1], contexts[-1]]
    return {
        number: GenerationTokens(context, (), max_tokens + number % 4, 0)
        for number, context in enumerate(contexts)
    }
