"""A model for the harness that looks up answers which were computed before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.harness.instances import request_of
from ggufsurgeon.leaderboard.prompting import Prompting
from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationAnswer,
    LikelihoodAnswer,
    request_sha256,
)


class ReplayingModel(LM):  # type: ignore[misc] # lm_eval has no types
    """Answers the harness' requests from a mapping.

    Its methods raise UsageError for a request without an answer.
    """

    tokenizer_name = ""
    """The harness asks for it when a chat template is applied, to name a file of its cache."""

    def __init__(
        self, answers: Mapping[EvaluationRequest, EvaluationAnswer], prompting: Prompting
    ) -> None:
        super().__init__()
        self._answers = answers
        self._prompting = prompting
        self.not_finite: set[tuple[str, int]] = set()
        """Task and number of the documents with an answer whose logits are not finite numbers."""

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """The log-likelihood of each continuation in nats; 0 for one that is not finite."""
        answers = []
        for instance in requests:
            answer = self._answer(instance)
            assert isinstance(answer, LikelihoodAnswer)
            if math.isfinite(answer.log_likelihood):
                answers.append((answer.log_likelihood, answer.is_greedy))
            else:
                self.not_finite.add((instance.task_name, instance.doc_id))
                answers.append((0.0, False))
        return answers

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The text of each request that is to be scored; empty where there is none."""
        texts = []
        for instance in requests:
            answer = self._answer(instance)
            assert isinstance(answer, GenerationAnswer)
            if answer.text is None:
                self.not_finite.add((instance.task_name, instance.doc_id))
            texts.append(self._prompting.answer_in(answer.text or ""))
        return texts

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Raise UsageError: no task of the leaderboard asks for this."""
        raise UsageError("likelihoods of whole texts were not collected")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The prompt for messages, as it was when requests were collected."""
        assert self._prompting.chat is not None
        return self._prompting.chat(chat_history, add_generation_prompt=add_generation_prompt)

    def _answer(self, instance: Any) -> EvaluationAnswer:
        request = request_of(instance, self._prompting)
        answer = self._answers.get(request)
        if answer is None:
            raise UsageError(
                f"document {instance.doc_id} of {instance.task_name} has no answer to the request "
                f"{request_sha256(request)[:12]}, which begins "
                f"{instance.args[0][:60]!r}",
                hint="The answers are of other tasks, documents or prompts, or not all are there.",
            )
        return answer
