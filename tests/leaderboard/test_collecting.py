"""What is collected is what the harness' own `evaluate` asks a model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.errors import MalformedFileError, UsageError
from ggufsurgeon.leaderboard.harness.benchmarks import BENCHMARK_NAMES
from ggufsurgeon.leaderboard.harness.collecting import collect
from ggufsurgeon.leaderboard.harness.instances import request_of
from ggufsurgeon.leaderboard.harness.loading import LoadedTasks, load_tasks
from ggufsurgeon.leaderboard.prompting import PLAIN, Prompting
from ggufsurgeon.leaderboard.requests import (
    EvaluationRequest,
    GenerationRequest,
    LikelihoodRequest,
)
from tests.leaderboard.answering import render


@pytest.mark.parametrize("prompting", [PLAIN, Prompting(render)], ids=["plain", "chat"])
def test_requests_are_those_of_the_harness(prompting: Prompting, mirror: Path) -> None:
    tasks = load_tasks(BENCHMARK_NAMES, mirror, limit=3)
    asked = [request for loaded in tasks.tasks for request in asked_by_harness(loaded, prompting)]
    assert collect(tasks, prompting) == tuple(dict.fromkeys(asked))


def test_a_limit_beyond_all_documents_is_none(mirror: Path) -> None:
    """islice of Python would raise for it."""
    tasks = load_tasks(["musr"], mirror, limit=10**30)
    assert collect(tasks) == collect(load_tasks(["musr"], mirror))


BROKEN = {
    "a prompt that cannot be made": ("musr", "'choice 1'", "choice 1"),
    "a score that cannot be given": ("ifeval", "punctuation:no_comma", "punctuation:nonsense"),
    "settings of another instruction": ("ifeval", '"num_words"', '"n_words"'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_documents_that_cannot_be_asked_or_scored_are_found_first(
    name: str, mirror: Path, tmp_path: Path
) -> None:
    """Also behind the first, which the harness tries when it loads a task."""
    benchmark, old, new = BROKEN[name]
    folder = tmp_path / "mirror" / benchmark
    shutil.copytree(mirror / benchmark, folder)
    for file in folder.glob("*.jsonl"):
        first, *others = file.read_text().splitlines(keepends=True)
        file.write_text(first + "".join(others).replace(old, new))
    with pytest.raises(MalformedFileError, match=rf"{folder}, leaderboard_\w+: cannot be read"):
        collect(load_tasks([benchmark], tmp_path / "mirror"))


def asked_by_harness(loaded: Any, prompting: Prompting) -> list[EvaluationRequest]:
    from lm_eval.api.model import LM
    from lm_eval.evaluator import evaluate

    asked: list[EvaluationRequest] = []

    class Recorder(LM):  # type: ignore[misc] # lm_eval has no types
        tokenizer_name = ""

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            asked.extend(LikelihoodRequest(*request.args) for request in requests)
            return [(-1.0, False)] * len(requests)

        def generate_until(self, requests: list[Any]) -> list[str]:
            for request in requests:
                context, settings = request.args
                limit = settings["max_gen_toks"]
                asked.append(GenerationRequest(context, tuple(settings["until"]), limit))
            return [""] * len(requests)

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise AssertionError

        def apply_chat_template(
            self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
        ) -> str:
            return render(chat_history, add_generation_prompt)

    evaluate(
        Recorder(),
        {"tasks": {loaded.name: loaded.task}},
        limit=3,
        bootstrap_iters=0,
        apply_chat_template=prompting.chat is not None,
        fewshot_as_multiturn=True,
    )
    return asked


@pytest.fixture
def tasks(mirror: Path) -> LoadedTasks:
    return load_tasks(["bbh", "math"], mirror, limit=1)


def test_few_shot_examples_are_turns_of_their_own(tasks: LoadedTasks) -> None:
    seen: list[list[dict[str, str]]] = []

    def remember(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        assert add_generation_prompt
        seen.append(messages)
        return render(messages, add_generation_prompt)

    collect(tasks, Prompting(remember))
    roles = {tuple(message["role"] for message in messages) for messages in seen}
    turns = ("user", "assistant")
    assert roles == {("system", *turns * 3, "user"), (*turns * 4, "user")}  # BBH and MATH


def test_what_a_chat_template_raises_is_raised(tasks: LoadedTasks) -> None:
    def refuse(_messages: list[dict[str, str]], _add_generation_prompt: bool = True) -> str:
        raise UsageError("no system messages")

    def positional(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        return refuse(messages, add_generation_prompt)

    with pytest.raises(UsageError, match="no system messages"):
        collect(tasks, Prompting(positional))


class Instance:
    def __init__(self, request_type: str, *arguments: Any) -> None:
        self.request_type = request_type
        self.args = arguments


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, GenerationRequest("c", (), 256)),
        ({"until": "\n"}, GenerationRequest("c", ("\n",), 256)),
        ({"until": ["a", "", "b"], "max_tokens": 9}, GenerationRequest("c", ("a", "b"), 9)),
        ({"max_gen_toks": 5, "max_tokens": 9}, GenerationRequest("c", (), 5)),
        ({"do_sample": False, "temperature": 0.8}, GenerationRequest("c", (), 256)),
        ({"do_sample": True, "temperature": 0.0}, GenerationRequest("c", (), 256)),
        ({"num_beams": 1, "repetition_penalty": 1.0}, GenerationRequest("c", (), 256)),
        ({"temperature": None}, GenerationRequest("c", (), 256)),
    ],
)
def test_settings_of_any_task_are_read(
    settings: dict[str, Any], expected: GenerationRequest
) -> None:
    assert request_of(Instance("generate_until", "c", settings), PLAIN) == expected


@pytest.mark.parametrize("settings", [{"temperature": 0.8}, {"do_sample": True, "temperature": 1}])
def test_sampled_text_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="sampled"):
        request_of(Instance("generate_until", "c", settings), PLAIN)


@pytest.mark.parametrize("name", ["num_beams", "repetition_penalty", "no_repeat_ngram_size"])
def test_text_that_would_not_be_the_greedy_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} = 4"):
        request_of(Instance("generate_until", "c", {name: 4}), PLAIN)


def test_likelihoods_of_whole_texts_are_refused() -> None:
    with pytest.raises(UsageError, match="loglikelihood_rolling"):
        request_of(Instance("loglikelihood_rolling", "c"), PLAIN)
