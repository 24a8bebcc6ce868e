"""Requests as tokens, by the conventions of lm-evaluation-harness.

They are those of its backend for transformers, `HFLM` in lm_eval/models/huggingface.py, and of
`TemplateLM` in lm_eval/api/model.py, version 0.4.13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.requests import (
    EvaluationRequest,
    GenerationRequest,
    LikelihoodRequest,
)

SHOWN_LENGTH = 60
"""Characters of a request that a message shows."""


class LikelihoodTokens(NamedTuple):
    """A request for the log-likelihood of a continuation."""

    context: Integers
    """At least one token, int32 [n_context]. Requests with equal contexts share the array."""
    continuation: Integers
    """At least one token, int32 [n_continuation]."""
    n_cut: int
    """Tokens left out at the beginning of the context."""

    @property
    def n_inputs(self) -> int:
        """Tokens that are run: all but the last, which predicts nothing that is scored."""
        return len(self.context) + len(self.continuation) - 1

    def inputs(self) -> Integers:
        """The tokens that are run, int32 [n_inputs]."""
        return np.concatenate([self.context, self.continuation[:-1]])


class GenerationTokens(NamedTuple):
    """A request for text."""

    prompt: Integers
    """At least one token, int32 [n_prompt]."""
    stops: tuple[str, ...]
    """Strings that end the text, the harness' own end of text included."""
    max_tokens: int
    n_cut: int
    """Tokens left out at the beginning of the prompt."""


class EncodedRequests(NamedTuple):
    """Requests in the tokens of a model, by their indices among all requests."""

    likelihoods: Mapping[int, LikelihoodTokens]
    generations: Mapping[int, GenerationTokens]
    n_ctx: int


def encode_requests(
    model: Model,
    requests: Sequence[EvaluationRequest],
    n_ctx: int,
    pool: ThreadPoolExecutor,
    on_encoded: Callable[[], object] = lambda: None,
) -> EncodedRequests:
    """The requests in tokens, of which a prompt and its answer have at most `n_ctx`.

    `on_encoded` is called after each. Raises UsageError for a model that does not continue texts,
    and for a request that does not fit the context even without the beginning of its prompt.
    """
    check_answers(model)
    contexts = dict.fromkeys(_context_read(request) for request in requests)
    tokens = dict(zip(contexts, pool.map(model.tokenize_prompt, contexts), strict=True))
    likelihoods: dict[int, LikelihoodTokens] = {}
    generations: dict[int, GenerationTokens] = {}

    def encode(request: EvaluationRequest) -> LikelihoodTokens | GenerationTokens:
        context = tokens[_context_read(request)]
        if isinstance(request, GenerationRequest):
            return _generation(model, request, context, n_ctx)
        return _likelihood(model, request, context, n_ctx)

    for index, one in enumerate(pool.map(encode, requests)):
        if isinstance(one, GenerationTokens):
            generations[index] = one
        else:
            likelihoods[index] = one
        on_encoded()
    return EncodedRequests(likelihoods, generations, n_ctx)


def check_answers(model: Model) -> None:
    """Raise UsageError for a model that does not continue texts."""
    if model.no_text:
        raise UsageError(f"{model.path} cannot answer: {model.no_text}")
    if model.adds_eos:
        raise UsageError(f"{model.path} cannot answer: its tokenizer ends every text with EOS")


def context_limit(model: Model, n_ctx: int | None) -> int:
    """The maximum number of tokens of a prompt with its answer, where `n_ctx` are asked for.

    Raises UsageError for fewer than two.
    """
    if n_ctx is not None and n_ctx < 2:
        raise UsageError(f"a context of {n_ctx} tokens: at least 2 are needed")
    return min(n_ctx or model.n_ctx_train, model.n_ctx_train)


def _context_read(request: EvaluationRequest) -> str:
    """The text of a context as it is tokenized: without white space at its end.

    `_encode_pair` puts that in front of the continuation, newlines too. A prompt keeps it.
    """
    if isinstance(request, GenerationRequest):
        return request.context
    return request.context.rstrip()


def _likelihood(
    model: Model, request: LikelihoodRequest, context: Integers, n_ctx: int
) -> LikelihoodTokens:
    text = _context_read(request)
    if text:
        whole = model.tokenize_prompt(request.context + request.continuation)
        continuation = whole[len(context) :]
    else:
        context, continuation = _without_context(model, request.context + request.continuation)
    if len(context) == 0 or len(continuation) == 0:
        raise UsageError(
            f"the continuation {_shown(request.continuation)} of {_shown(text[-SHOWN_LENGTH:])} "
            f"has no tokens of its own in the vocabulary of {model.path}"
        )
    if len(continuation) > n_ctx:
        raise UsageError(
            f"the continuation {_shown(request.continuation)} has {len(continuation)} tokens, but "
            f"the context has {n_ctx}"
        )
    n_cut = max(0, len(context) + len(continuation) - 1 - n_ctx)
    return LikelihoodTokens(context[n_cut:] if n_cut else context, continuation, n_cut)


def _without_context(model: Model, text: str) -> tuple[Integers, Integers]:
    """A context of one token, BOS or else EOS, for a continuation without any (`loglikelihood`).

    A continuation that begins with this token is one token shorter.
    """
    continuation = model.tokenize_prompt(text, adds_bos=False)
    prefix = model.bos if model.bos >= 0 else model.eos
    if len(continuation) and continuation[0] == prefix:
        return continuation[:1], continuation[1:]
    return np.array([prefix] if prefix >= 0 else [], dtype=np.int32), continuation


def _generation(
    model: Model, request: GenerationRequest, prompt: Integers, n_ctx: int
) -> GenerationTokens:
    n_most = n_ctx - request.max_tokens
    if request.max_tokens < 1 or n_most < 1:
        raise UsageError(
            f"an answer of {request.max_tokens} tokens is asked for: an answer and its prompt need "
            f"at least one token each, and the context of {model.path} has {n_ctx} tokens",
            hint="Allow fewer tokens for an answer, or more for the context.",
        )
    if len(prompt) == 0:
        raise UsageError(f"a prompt has no tokens in the vocabulary of {model.path}")
    n_cut = max(0, len(prompt) - n_most)
    end = model.name_of(model.eos)
    stops = dict.fromkeys([*request.stops, end])
    kept = tuple(stop for stop in stops if stop)
    return GenerationTokens(prompt[n_cut:], kept, request.max_tokens, n_cut)


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}...")


def n_inputs_of(encoded: EncodedRequests, n_requests: int) -> Iterator[int]:
    """Tokens of the prompt of each request that are run when it is answered by itself."""
    for index in range(n_requests):
        if index in encoded.likelihoods:
            yield encoded.likelihoods[index].n_inputs
        else:
            yield len(encoded.generations[index].prompt)
