"""The answers are those of lm-evaluation-harness' own backend for transformers.

What that answers with a small model is in fixtures/harness_answers.json, so that neither torch nor
transformers is needed here. It computes in float32; llama.cpp keeps keys and values in float16.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from ggufsurgeon.engine.model import Devices
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.leaderboard.answering.jobs import answer_requests, describe_requests
from ggufsurgeon.leaderboard.answering.work import Answered, AnswerSettings, PathWork
from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationRequest,
    LikelihoodAnswer,
    LikelihoodRequest,
)
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.worker import Worker

ABSOLUTE, RELATIVE = 0.01, 1e-4
"""How far log-likelihoods may be apart: nats, or a share of them where that is more."""
DEVICES = Devices(n_threads=1)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    path = Path(__file__).parents[2] / "fixtures/harness_answers.json"
    return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def requests(recorded: dict[str, Any]) -> tuple[EvaluationRequest, ...]:
    asked: list[EvaluationRequest] = [
        LikelihoodRequest(one["context"], one["continuation"]) for one in recorded["likelihoods"]
    ]
    asked += [
        GenerationRequest(one["context"], tuple(one["stops"]), one["max_tokens"])
        for one in recorded["generations"]
    ]
    return tuple(asked)


@pytest.fixture(scope="module")
def answers(
    stories: Path, recorded: dict[str, Any], requests: tuple[EvaluationRequest, ...]
) -> list[EvaluationAnswer]:
    """Ours, all asked at once, in the order of the requests."""
    found: dict[int, EvaluationAnswer] = {}

    def take(some: tuple[Answered, ...]) -> None:
        found.update((number, answer) for _path, number, answer in some)

    with Worker() as runner:
        runner.run(
            answer_requests,
            ModelPaths(stories),
            DEVICES,
            requests,
            (PathWork(LayerPath("0..4"), tuple(range(len(requests)))),),
            AnswerSettings(n_ctx=recorded["n_ctx"]),
            on_result=take,
        )
    return [found[index] for index in range(len(requests))]


def test_log_likelihoods_are_those_of_the_harness_backend(
    recorded: dict[str, Any], answers: list[EvaluationAnswer]
) -> None:
    expected = recorded["likelihoods"]
    found = cast("list[LikelihoodAnswer]", answers[: len(expected)])
    assert [one.log_likelihood for one in found] == pytest.approx(
        [one["log_likelihood"] for one in expected], abs=ABSOLUTE, rel=RELATIVE
    )
    assert [one.is_greedy for one in found] == [one["is_greedy"] for one in expected]


def test_texts_are_those_of_the_harness_backend(
    recorded: dict[str, Any], answers: list[EvaluationAnswer]
) -> None:
    expected = recorded["generations"]
    found = [getattr(one, "text", None) for one in answers[len(recorded["likelihoods"]) :]]
    assert found == [one["text"] for one in expected]


def test_prompts_are_cut_as_by_the_harness_backend(
    stories: Path, recorded: dict[str, Any], requests: tuple[EvaluationRequest, ...]
) -> None:
    settings = AnswerSettings(n_ctx=recorded["n_ctx"])
    with Worker() as runner:
        table = runner.run(describe_requests, ModelPaths(stories), DEVICES, requests, settings)
    both = [*recorded["likelihoods"], *recorded["generations"]]
    assert list(table.n_tokens) == [one["n_inputs"] for one in both]
    n_likelihoods = len(recorded["likelihoods"])
    for n_cut in (table.n_cut[:n_likelihoods], table.n_cut[n_likelihoods:]):
        assert 0 < sum(map(bool, n_cut)) < len(n_cut)
    assert table.n_run < sum(table.n_tokens)


def test_the_record_holds_greedy_and_other_continuations_and_texts_with_and_without_stops(
    recorded: dict[str, Any],
) -> None:
    assert {one["is_greedy"] for one in recorded["likelihoods"]} == {True, False}
    assert {bool(one["stops"]) for one in recorded["generations"]} == {True, False}
