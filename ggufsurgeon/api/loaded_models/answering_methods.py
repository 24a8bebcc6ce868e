"""Answers of a loaded model to the requests of lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ggufsurgeon.api.loaded_models.model_over_runner import ModelOverRunner
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.leaderboard.answering.work import AnswerSettings
    from ggufsurgeon.leaderboard.requests import EvaluationAnswer, EvaluationRequest


class AnsweringMethods(ModelOverRunner):
    """The method of a loaded model that answers requests."""

    def answer(
        self,
        requests: Sequence[EvaluationRequest],
        path: AnyPath | None = None,
        *,
        settings: AnswerSettings | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> dict[EvaluationRequest, EvaluationAnswer]:
        """Answer requests for likelihoods and greedy texts along a layer path, all together.

        What prompts have in common is run once. None is the path of the model as it is.
        `settings` are an `AnswerSettings`. Raises UsageError for a path or a request that does not
        fit the model, RefusedError for a path that cannot be run exactly.
        """
        from ggufsurgeon.leaderboard.answering.jobs import answer_requests
        from ggufsurgeon.leaderboard.answering.work import Answered, AnswerSettings, PathWork

        distinct = tuple(dict.fromkeys(requests))
        work = [PathWork(self._over(path), tuple(range(len(distinct))))]
        answers: dict[EvaluationRequest, EvaluationAnswer] = {}

        def take(found: Sequence[Answered]) -> None:
            answers.update((distinct[one.number], one.answer) for one in found)

        self._runner.run(
            answer_requests,
            self._models,
            self._devices,
            distinct,
            work,
            settings or AnswerSettings(),
            progress=progress,
            on_result=take,
        )
        return answers
