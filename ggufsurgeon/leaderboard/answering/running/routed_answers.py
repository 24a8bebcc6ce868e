"""Answers along a layer path that can only be routed: each request by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sampling import Sampling
from ggufsurgeon.errors import NotFiniteError
from ggufsurgeon.leaderboard.answering.encoding import GenerationTokens, LikelihoodTokens
from ggufsurgeon.leaderboard.answering.running.text_so_far import TextSoFar
from ggufsurgeon.leaderboard.requests import GenerationAnswer, LikelihoodAnswer
from ggufsurgeon.routing.route import Route
from ggufsurgeon.scoring.logits.row_targets import score_targets


def routed_likelihood(
    route: Route, request: LikelihoodTokens, pool: ThreadPoolExecutor
) -> LikelihoodAnswer:
    """The log-likelihood of a continuation along a route."""
    tokens = request.inputs()
    wanted = np.arange(len(tokens)) >= len(request.context) - 1
    logits = route.logits(tokens, wanted)
    rows = np.arange(len(request.continuation), dtype=np.int32)
    found = score_targets(logits, rows, request.continuation, pool)
    log_likelihood = float(found.log_probs.sum())
    return LikelihoodAnswer(log_likelihood, bool(found.are_likeliest.all()), request.n_cut)


def routed_generation(route: Route, model: Model, request: GenerationTokens) -> GenerationAnswer:
    """Greedy text along a route."""
    text = TextSoFar(model, request)
    try:
        for token in route.generate(request.prompt, request.max_tokens, Sampling()):
            if text.add(token):
                break
    except NotFiniteError:
        return text.not_finite()
    return text.answer()
