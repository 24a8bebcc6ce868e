"""Requests in the tokens of a model, and the units in which they run, kept by the session."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ggufsurgeon.engine.context import MAX_SEQUENCES
from ggufsurgeon.engine.limits.threads import n_threads_of
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.answering.encoding import (
    EncodedRequests,
    context_limit,
    encode_requests,
)
from ggufsurgeon.leaderboard.answering.prefix_order import (
    Unit,
    generation_units,
    likelihood_units,
)
from ggufsurgeon.leaderboard.answering.work import AnswerSettings
from ggufsurgeon.leaderboard.requests import EvaluationRequest
from ggufsurgeon.workers.session import Reporter, Session

KEPT = "requests of the leaderboard"
"""The name under which a session keeps the requests of the last job."""
REPORTED_AT_ONCE = 256
"""Requests between two reports."""


class Prepared(NamedTuple):
    """Requests that are ready to run."""

    model: Model
    requests: tuple[EvaluationRequest, ...]
    settings: AnswerSettings
    encoded: EncodedRequests
    likelihoods: tuple[Unit, ...]
    generations: tuple[Unit, ...]


def prepared_requests(
    session: Session,
    model: Model,
    requests: tuple[EvaluationRequest, ...],
    settings: AnswerSettings,
    reporter: Reporter,
) -> Prepared:
    """Requests ready to run; those of the last job if they are the same. Raises UsageError."""
    kept: Prepared | None = session.kept.get(KEPT)
    if kept is not None and kept.model is model and kept[1:3] == (requests, settings):
        return kept
    if not 1 <= settings.n_parallel < MAX_SEQUENCES:
        raise UsageError(
            f"{settings.n_parallel} texts cannot be generated at once: 1 to {MAX_SEQUENCES - 1} can"
        )
    n_ctx = context_limit(model, settings.n_ctx)
    reporter.begin("requests in tokens", len(requests), "requests")
    with ThreadPoolExecutor(n_threads_of(model.options)) as pool:
        on_encoded = _in_steps(reporter.advance, len(requests))
        encoded = encode_requests(model, requests, n_ctx, pool, on_encoded)
    may_share = not model.has_state  # a recurrent state is that of one sequence
    prepared = Prepared(
        model,
        requests,
        settings,
        encoded,
        likelihood_units(encoded.likelihoods, may_share=may_share),
        generation_units(encoded.generations, settings.n_parallel, may_share=may_share),
    )
    session.kept[KEPT] = prepared
    return prepared


def _in_steps(advance: Callable[[int], object], n_requests: int) -> Callable[[], object]:
    """A function to call for each request; `advance` is called for many at once."""
    n_done = 0

    def done() -> None:
        nonlocal n_done
        n_done += 1
        if n_done % REPORTED_AT_ONCE == 0 or n_done == n_requests:
            advance((n_done - 1) % REPORTED_AT_ONCE + 1)

    return done
