"""Answers of a model along layer paths: those in a store, and those that are computed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationAnswer,
    LikelihoodAnswer,
    LikelihoodRequest,
    request_sha256,
)
from ggufsurgeon.store.answers import KeptAnswer, KeptAnswers
from ggufsurgeon.store.database import StoreWriteError

SECONDS = 2.0
"""Waiting answers are committed with the first answer that comes at least so long after the
oldest of them."""


class AnswerBook:
    """The answers of one model to some requests. Without a store, none are kept."""

    def __init__(
        self,
        requests: Sequence[EvaluationRequest],
        kept: KeptAnswers | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = requests
        self._digests = [request_sha256(request) for request in requests]
        self._kept = kept
        self._clock = clock
        self._answers: dict[str, dict[int, EvaluationAnswer]] = {}
        self._waiting: list[KeptAnswer] = []
        self._since = 0.0

    def missing(self, layer_path: str) -> tuple[int, ...]:
        """The numbers of the requests without an answer along a path.

        Raises RefusedError when the store is damaged.
        """
        known = self._along(layer_path)
        return tuple(n for n in range(len(self._requests)) if n not in known)

    def answers(self, layer_path: str) -> Mapping[EvaluationRequest, EvaluationAnswer]:
        """All answers along a path, without requests that have none. Raises as `missing`.

        Where another process has stored an answer first, that one is taken, as in any later run.
        """
        if self._kept is not None:
            self._answers.pop(layer_path, None)
        known = self._along(layer_path)
        return {self._requests[n]: answer for n, answer in known.items()}

    def add(self, layer_path: str, number: int, answer: EvaluationAnswer) -> None:
        """Take the answer to a request. Raises StoreWriteError when the store cannot be written."""
        self._along(layer_path)[number] = answer
        if self._kept is None:
            return
        if not self._waiting:
            self._since = self._clock()
        self._waiting.append(KeptAnswer(layer_path, self._digests[number], _values(answer)))
        if self._clock() - self._since >= SECONDS:
            self._commit()

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Commit what waits at the end of the block, also where an exception ends it."""
        try:
            yield
        except BaseException:
            with suppress(StoreWriteError):
                self._commit()
            raise
        self._commit()

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._kept is not None and waiting:
            self._kept.add(waiting)

    def _along(self, layer_path: str) -> dict[int, EvaluationAnswer]:
        if layer_path not in self._answers:
            self._answers[layer_path] = self._known(layer_path)
        return self._answers[layer_path]

    def _known(self, layer_path: str) -> dict[int, EvaluationAnswer]:
        if self._kept is None:
            return {}
        found = self._kept.along(layer_path)
        return {
            n: self._answer(request, found[digest])
            for n, (request, digest) in enumerate(zip(self._requests, self._digests, strict=True))
            if digest in found
        }

    def _answer(self, request: EvaluationRequest, values: tuple[Any, ...]) -> EvaluationAnswer:
        """The answer with values from a store. Raises RefusedError for values that fit none."""
        answer = _as_answer(request, values)
        if answer is None:
            assert self._kept is not None
            raise self._kept.damaged()
        return answer


def _values(answer: EvaluationAnswer) -> tuple[Any, ...]:
    """The fields of an answer, with None for a number that is not finite."""
    if isinstance(answer, LikelihoodAnswer) and not math.isfinite(answer.log_likelihood):
        return (None, *answer[1:])
    return tuple(answer)


def _as_answer(request: EvaluationRequest, values: tuple[Any, ...]) -> EvaluationAnswer | None:
    """The answer with these fields; None where a request of this kind has no such answer."""
    if isinstance(request, LikelihoodRequest):
        match values:
            case (float() | None as found, bool(is_greedy), int(n_cut)):
                return LikelihoodAnswer(math.nan if found is None else found, is_greedy, n_cut)
        return None
    match values:
        case (str() | None as text, int(n_tokens), bool(is_at_limit), int(n_cut)):
            return GenerationAnswer(text, n_tokens, is_at_limit, n_cut)
    return None
