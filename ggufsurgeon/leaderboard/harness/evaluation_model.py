"""A model along a layer path as a model of lm-evaluation-harness, for `simple_evaluate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from lm_eval.api.model import LM

from ggufsurgeon.errors import NotFiniteError, UsageError
from ggufsurgeon.leaderboard.harness.instances import request_of
from ggufsurgeon.leaderboard.prompting import Prompting
from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationAnswer,
    LikelihoodAnswer,
)

AnswerAll: TypeAlias = Callable[
    [Sequence[EvaluationRequest]], Mapping[EvaluationRequest, EvaluationAnswer]
]
"""Answers distinct requests, all of them."""


class EvaluationModel(LM):  # type: ignore[misc] # lm_eval has no types
    """A model of the harness that answers all requests of a type together.

    Any task works that asks for likelihoods of continuations (multiple choice) or for greedy text.
    Its methods raise UsageError for other requests, NotFiniteError where the logits of the
    model are not finite numbers, and what the chat template and the model raise.
    """

    def __init__(
        self,
        name: str,
        answer_all: AnswerAll,
        prompting: Prompting,
        template_name: Callable[[], str],
    ) -> None:
        """`template_name` identifies the chat template; it is called only where one is applied."""
        super().__init__()
        self._name = name
        self._answer_all = answer_all
        self._prompting = prompting
        self._template_name = template_name

    @property
    def tokenizer_name(self) -> str:
        """Tells chat templates apart in the harness' cache of requests."""
        return self._template_name()

    def get_model_info(self) -> dict[str, str]:
        """What the harness keeps of the model with its results."""
        return {"model_source": "ggufsurgeon", "model_name": self._name}

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The prompt for messages. Raises UsageError for a model without a chat template."""
        if self._prompting.chat is None:
            raise UsageError(f"{self._name} has no chat template")
        return self._prompting.chat(chat_history, add_generation_prompt=add_generation_prompt)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """The log-likelihood of each continuation in nats, and whether greedy text would be it."""
        likelihoods = []
        for answer in self._answers(requests):
            assert isinstance(answer, LikelihoodAnswer)
            if not math.isfinite(answer.log_likelihood):
                raise self._not_finite()
            likelihoods.append((answer.log_likelihood, answer.is_greedy))
        return likelihoods

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The greedy text of each request, in front of the first of its stop strings."""
        texts = []
        for answer in self._answers(requests):
            assert isinstance(answer, GenerationAnswer)
            if answer.text is None:
                raise self._not_finite()
            texts.append(self._prompting.answer_in(answer.text))
        return texts

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Raise UsageError: `LoadedModel.score` measures the likelihood of whole texts."""
        raise UsageError(
            "likelihoods of whole texts are not answered here",
            hint="LoadedModel.score measures the perplexity of a text along layer paths.",
        )

    def _answers(self, requests: Sequence[Any]) -> list[EvaluationAnswer]:
        asked = [request_of(instance, self._prompting) for instance in requests]
        answers = self._answer_all(tuple(dict.fromkeys(asked)))
        return [answers[request] for request in asked]

    def _not_finite(self) -> NotFiniteError:
        return NotFiniteError(self._name, "its logits are not finite numbers")
