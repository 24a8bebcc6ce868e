"""The requests of lm-evaluation-harness to a model, and the answers."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple, TypeAlias


class LikelihoodRequest(NamedTuple):
    """Asks for the log-likelihood of a continuation: the harness' `loglikelihood`."""

    context: str
    """The prompt, with its chat template applied where there is one."""
    continuation: str


class GenerationRequest(NamedTuple):
    """Asks for greedy text: the harness' `generate_until` without sampling."""

    context: str
    """The prompt, with its chat template applied where there is one."""
    stops: tuple[str, ...]
    """Strings that end the text, which is cut in front of the first of them."""
    max_tokens: int


class LikelihoodAnswer(NamedTuple):
    """The log-likelihood of a continuation."""

    log_likelihood: float
    """The sum over its tokens, in nats; NaN where the logits are not finite numbers."""
    is_greedy: bool
    """Whether each of its tokens is the most likely one."""
    n_cut: int
    """Tokens left out at the beginning of the prompt, since the context is shorter."""


class GenerationAnswer(NamedTuple):
    """Generated text."""

    text: str | None
    """Without the stop string that ended it; None where the logits are not finite numbers."""
    n_tokens: int
    """Number of generated tokens."""
    is_at_limit: bool
    """Whether it ended because it had the maximum number of tokens."""
    n_cut: int
    """Tokens left out at the beginning of the prompt, since the context is shorter."""


EvaluationRequest: TypeAlias = "LikelihoodRequest | GenerationRequest"
EvaluationAnswer: TypeAlias = "LikelihoodAnswer | GenerationAnswer"


def request_sha256(request: EvaluationRequest) -> str:
    """SHA-256 of all that an answer depends on besides the model and how it is run, in hex."""
    content = [type(request).__name__, *request]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
