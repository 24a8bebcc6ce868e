"""The jobs of a run of the leaderboard: what requests cost, and their answers along layer paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.engine.context import opened_context
from ggufsurgeon.engine.model import Devices, Model
from ggufsurgeon.engine.threads import default_threads
from ggufsurgeon.inference.execution import Execution, opened_execution
from ggufsurgeon.leaderboard.answering import generations, likelihoods
from ggufsurgeon.leaderboard.answering.encoding import (
    EncodedRequests,
    context_limit,
    encode_requests,
    n_inputs_of,
)
from ggufsurgeon.leaderboard.answering.generations import GenerationRun
from ggufsurgeon.leaderboard.answering.likelihoods import LikelihoodRun
from ggufsurgeon.leaderboard.answering.prefix_order import (
    Unit,
    generation_units,
    likelihood_units,
)
from ggufsurgeon.leaderboard.answering.routed_answers import routed_generation, routed_likelihood
from ggufsurgeon.leaderboard.answering.work import (
    Answered,
    AnswerSettings,
    PathWork,
    RequestTable,
)
from ggufsurgeon.leaderboard.requests import EvaluationAnswer, EvaluationRequest
from ggufsurgeon.scoring.chunks import N_UBATCH
from ggufsurgeon.workers.session import Reporter, Session

KEPT = "requests of the leaderboard"
"""The name under which a session keeps requests in the tokens of a model."""

_Found = Iterator[Sequence[tuple[int, EvaluationAnswer]]]


class _Prepared(NamedTuple):
    """Requests in the tokens of a model, and the units in which they run."""

    model: Model
    requests: tuple[EvaluationRequest, ...]
    settings: AnswerSettings
    encoded: EncodedRequests
    likelihoods: tuple[Unit, ...]
    generations: tuple[Unit, ...]


def describe_requests(
    session: Session,
    model: Path,
    devices: Devices,
    requests: tuple[EvaluationRequest, ...],
    settings: AnswerSettings,
    reporter: Reporter,
) -> RequestTable:
    """The tokens of requests, and how many are run for all together.

    Raises UsageError for a model that cannot answer them, or a request that does not fit it.
    """
    prepared = _prepared(session, session.model(model, devices), requests, settings, reporter)
    encoded = prepared.encoded
    both = {**encoded.likelihoods, **encoded.generations}
    return RequestTable(
        encoded.n_ctx,
        tuple(n_inputs_of(encoded, len(requests))),
        tuple(both[index].n_cut for index in range(len(requests))),
        sum(unit.n_tokens for unit in (*prepared.likelihoods, *prepared.generations)),
        sum(one.max_tokens for one in encoded.generations.values()),
    )


def answer_requests(
    session: Session,
    model: Path,
    devices: Devices,
    requests: tuple[EvaluationRequest, ...],
    work: Sequence[PathWork],
    settings: AnswerSettings,
    reporter: Reporter,
) -> None:
    """Answer those of all requests that are missing along layer paths.

    Tuples of Answered are emitted as they come. All requests decide which run together, whichever
    are missing: so answers are rounded alike in a run that goes on where another was killed. A
    path is aliased, or routed where it cannot be; then each request runs by itself. Raises
    RefusedError for a path that cannot be run exactly, UsageError as `describe_requests`, and
    OutOfMemoryError where the contexts do not fit the devices.
    """
    prepared = _prepared(session, session.model(model, devices), requests, settings, reporter)
    for one in work:
        missing = frozenset(one.missing)
        with (
            opened_execution(prepared.model, one.layer_path) as execution,
            ThreadPoolExecutor(_n_threads(prepared.model)) as pool,
        ):
            run = _Run(prepared, execution, missing, pool, reporter)
            reporter.begin(f"answers along {one.layer_path}", run.n_tokens, "tokens")
            for found in run.answers():
                answered = [Answered(one.layer_path, *pair) for pair in found if pair[0] in missing]
                if answered:
                    reporter.emit(tuple(answered))


class _Run:
    """The missing answers along one path."""

    def __init__(
        self,
        prepared: _Prepared,
        execution: Execution,
        missing: frozenset[int],
        pool: ThreadPoolExecutor,
        reporter: Reporter,
    ) -> None:
        self._prepared = prepared
        self._encoded = prepared.encoded
        self._execution = execution
        self._missing = missing
        self._pool = pool
        self._on_run: Callable[[int], object] = reporter.advance
        self._likelihoods = _with_any(prepared.likelihoods, missing)
        self._generations = _with_any(prepared.generations, missing)

    @property
    def n_tokens(self) -> int:
        """Tokens that are run, with the most that may be generated."""
        if self._execution.model is None:
            return sum(map(self._n_alone, self._missing))
        n_generated = sum(
            self._encoded.generations[index].max_tokens
            for unit in self._generations
            for index in unit.indices
        )
        return n_generated + sum(unit.n_tokens for unit in (*self._likelihoods, *self._generations))

    def answers(self) -> _Found:
        """Answers with the indices of their requests; also of some that are not missing."""
        model = self._execution.model
        if model is None:
            yield from self._routed()
            return
        yield from self._likelihoods_of(model)
        yield from self._generations_of(model)

    def _likelihoods_of(self, model: Model) -> _Found:
        if not self._likelihoods:
            return
        requests, may_share = self._encoded.likelihoods, not model.has_state
        n_cells = likelihoods.n_cells(requests, may_share=may_share)
        n_sequences = likelihoods.n_sequences(may_share=may_share)
        n_batch = min(N_UBATCH, n_cells)
        with opened_context(model, n_cells, n_batch, n_sequences, sharing=may_share) as context:
            run = LikelihoodRun(context, requests, self._pool, may_share=may_share)
            for unit in self._likelihoods:
                yield from run.answers(unit, self._on_run)

    def _generations_of(self, model: Model) -> _Found:
        if not self._generations:
            return
        requests, n_parallel = self._encoded.generations, self._prepared.settings.n_parallel
        may_share = not model.has_state
        n_cells = generations.n_cells(self._prepared.generations, requests, n_parallel)
        n_batch = min(N_UBATCH, n_cells)
        n_sequences = generations.n_sequences(n_parallel, may_share=may_share)
        with opened_context(model, n_cells, n_batch, n_sequences, sharing=may_share) as context:
            run = GenerationRun(context, model, requests, n_parallel, may_share=may_share)
            for unit in self._generations:
                yield from run.answers(unit, self._on_run)

    def _routed(self) -> _Found:
        route = self._execution.route
        for index in sorted(self._missing):
            if index in self._encoded.likelihoods:
                request = self._encoded.likelihoods[index]
                yield [(index, routed_likelihood(route, request, self._pool))]
            else:
                text = self._encoded.generations[index]
                yield [(index, routed_generation(route, self._prepared.model, text))]
            self._on_run(self._n_alone(index))

    def _n_alone(self, index: int) -> int:
        """Tokens that one request runs by itself, with the most that may be generated."""
        if index in self._encoded.likelihoods:
            return self._encoded.likelihoods[index].n_inputs
        request = self._encoded.generations[index]
        return len(request.prompt) + request.max_tokens


def _prepared(
    session: Session,
    model: Model,
    requests: tuple[EvaluationRequest, ...],
    settings: AnswerSettings,
    reporter: Reporter,
) -> _Prepared:
    """Requests ready to run; the session keeps those of the last job."""
    kept = session.kept.get(KEPT)
    if kept is not None and kept.model is model and kept[1:3] == (requests, settings):
        return kept
    n_ctx = context_limit(model, settings.n_ctx)
    reporter.begin("requests in tokens", len(requests), "requests")
    with ThreadPoolExecutor(_n_threads(model)) as pool:
        encoded = encode_requests(model, requests, n_ctx, pool, reporter.advance)
    may_share = not model.has_state
    prepared = _Prepared(
        model,
        requests,
        settings,
        encoded,
        likelihood_units(encoded.likelihoods, may_share=may_share),
        generation_units(encoded.generations, settings.n_parallel, may_share=may_share),
    )
    session.kept[KEPT] = prepared
    return prepared


def _with_any(units: Iterable[Unit], missing: frozenset[int]) -> list[Unit]:
    return [unit for unit in units if not missing.isdisjoint(unit.indices)]


def _n_threads(model: Model) -> int:
    return model.options.n_threads or default_threads()
