"""All requests of the tasks, collected before any model is loaded."""

from __future__ import annotations

from typing import Any

from ggufsurgeon.leaderboard.harness.instances import request_of
from ggufsurgeon.leaderboard.harness.loading import LoadedTasks
from ggufsurgeon.leaderboard.harness.rehearsing import rehearse
from ggufsurgeon.leaderboard.harness.surroundings import quiet
from ggufsurgeon.leaderboard.prompting import PLAIN, Prompting
from ggufsurgeon.leaderboard.requests import EvaluationRequest
from ggufsurgeon.progress import NO_PROGRESS, Progress


def collect(
    tasks: LoadedTasks, prompting: Prompting = PLAIN, progress: Progress = NO_PROGRESS
) -> tuple[EvaluationRequest, ...]:
    """The requests of the tasks, each once, in the harness' order.

    Raises MalformedFileError for documents of which the harness makes no prompts, or no scores, and
    what the chat template raises.
    """
    distinct: dict[EvaluationRequest, None] = {}
    progress.begin("making prompts", sum(task.n_documents for task in tasks.tasks), "documents")
    with quiet():
        for task in tasks.tasks:
            with task.clear_errors():
                task.task.build_all_requests(limit=task.limit, **prompt_settings(prompting))
                rehearse(task.task, task.benchmark)
            distinct |= dict.fromkeys(
                request_of(instance, prompting) for instance in task.task.instances
            )
            progress.advance(task.n_documents)
    return tuple(distinct)


def prompt_settings(prompting: Prompting) -> dict[str, Any]:
    """How the harness' `build_all_requests` is to make prompts, as its `evaluate` asks for them.

    The name of the tokenizer only names a file of the harness' cache, which is not used.
    """
    if prompting.chat is None:
        return {}
    return {
        "apply_chat_template": True,
        "fewshot_as_multiturn": True,
        "chat_template": prompting.chat,
        "tokenizer_name": "",
    }
