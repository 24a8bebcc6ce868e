"""The missing answers along one layer path, from contexts that are made for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from ggufsurgeon.engine.context import opened_context
from ggufsurgeon.engine.model import Model
from ggufsurgeon.inference.execution import Execution
from ggufsurgeon.leaderboard.answering.prefix_order import Unit
from ggufsurgeon.leaderboard.answering.prepared import Prepared
from ggufsurgeon.leaderboard.answering.running import generations, likelihoods
from ggufsurgeon.leaderboard.answering.running.generations import GenerationRun
from ggufsurgeon.leaderboard.answering.running.likelihoods import LikelihoodRun
from ggufsurgeon.leaderboard.answering.running.routed_answers import (
    routed_generation,
    routed_likelihood,
)
from ggufsurgeon.leaderboard.requests import EvaluationAnswer
from ggufsurgeon.scoring.chunks import N_UBATCH

Found: TypeAlias = Iterator[Sequence[tuple[int, EvaluationAnswer]]]
"""Answers with the indices of their requests, some at a time."""


class PathRun:
    """The missing answers along one path."""

    def __init__(
        self,
        prepared: Prepared,
        execution: Execution,
        missing: frozenset[int],
        pool: ThreadPoolExecutor,
        on_run: Callable[[int], object],
    ) -> None:
        self._prepared = prepared
        self._encoded = prepared.encoded
        self._execution = execution
        self._missing = missing
        self._pool = pool
        self._on_run = on_run
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

    def answers(self) -> Found:
        """Answers with the indices of their requests; also of some that are not missing."""
        model = self._execution.model
        if model is None:
            yield from self._routed()
            return
        yield from self._likelihoods_of(model)
        yield from self._generations_of(model)

    def _likelihoods_of(self, model: Model) -> Found:
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

    def _generations_of(self, model: Model) -> Found:
        if not self._generations:
            return
        requests, n_parallel = self._encoded.generations, self._prepared.settings.n_parallel
        may_share = not model.has_state
        units = self._prepared.generations
        n_cells = generations.n_cells(units, requests, n_parallel, may_share=may_share)
        n_batch = min(N_UBATCH, n_cells)
        n_sequences = generations.n_sequences(n_parallel, may_share=may_share)
        with opened_context(model, n_cells, n_batch, n_sequences, sharing=may_share) as context:
            run = GenerationRun(context, model, requests, n_parallel, may_share=may_share)
            for unit in self._generations:
                yield from run.answers(unit, self._on_run)

    def _routed(self) -> Found:
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


def _with_any(units: Iterable[Unit], missing: frozenset[int]) -> list[Unit]:
    return [unit for unit in units if not missing.isdisjoint(unit.indices)]
