"""Loaded models for those who run lm-evaluation-harness themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from ggufsurgeon.api.loaded_models.loaded_model import LoadedModel
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.planning.resolving import resolve_path
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:  # lm_eval, numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.engine.high_level.chat_renderer import ChatRenderer
    from ggufsurgeon.leaderboard.chat_settings import ChatSettings
    from ggufsurgeon.leaderboard.harness.evaluation_model import EvaluationModel
    from ggufsurgeon.leaderboard.requests import EvaluationAnswer, EvaluationRequest


def evaluation_model(
    model: LoadedModel,
    path: AnyPath | None = None,
    *,
    chat: ChatSettings | None = None,
    n_ctx: int | None = None,
    n_parallel: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> EvaluationModel:
    """A loaded model along a layer path for `lm_eval.simple_evaluate(model=...)`.

    Tasks work that ask for likelihoods of continuations or for greedy text. The model's chat
    template is there for `apply_chat_template=True`, with the variables and the tokens to think in
    of `chat`. `n_ctx` is the most tokens of a prompt with its answer (None: as many as the model
    was trained on), `n_parallel` how many texts are generated at once. Raises MissingExtraError
    without lm-evaluation-harness, and UsageError for a path that does not fit the model.

    >>> import ggufsurgeon as gs
    >>> from lm_eval.api.instance import Instance
    >>> asked = Instance("loglikelihood", {}, ("Once upon a", " time"), 0)
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     answers = gs.evaluation_model(model, gs.repeat("1:3")).loglikelihood([asked])
    >>> [is_greedy for log_likelihood, is_greedy in answers]
    [True]
    """
    from ggufsurgeon.leaderboard.answering.work import AnswerSettings
    from ggufsurgeon.leaderboard.harness.requirements import check_package

    check_package("lm_eval")
    from ggufsurgeon.leaderboard.chat_settings import ChatSettings
    from ggufsurgeon.leaderboard.harness.evaluation_model import EvaluationModel
    from ggufsurgeon.leaderboard.prompting import Prompting

    file = open_gguf(model.path)
    layer_path = None if path is None else resolve_path(file, path)
    settings = AnswerSettings(n_ctx) if n_parallel is None else AnswerSettings(n_ctx, n_parallel)
    chosen = chat or ChatSettings()

    def answer_all(
        requests: Sequence[EvaluationRequest],
    ) -> dict[EvaluationRequest, EvaluationAnswer]:
        return model.answer(requests, layer_path, settings=settings, progress=progress)

    @cache
    def renderer() -> ChatRenderer:
        from ggufsurgeon.engine.high_level.chat_renderer import chat_renderer

        return chat_renderer(file, chosen.variables)

    def template(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        return renderer()(messages, add_generation_prompt)

    prompting = Prompting(template, chosen.n_thinking_tokens, chosen.thinking_end)
    name = model.path.name if layer_path is None else f"{model.path.name} along {layer_path}"
    return EvaluationModel(name, answer_all, prompting, lambda: renderer().sha256)
