"""Collected, answered and replayed is what the harness itself does with the same model."""

from __future__ import annotations

import json
import math
import random
import signal
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.documents import DocumentScore, TaskScore
from ggufsurgeon.leaderboard.harness.benchmarks import BENCHMARK_NAMES, benchmarks_of
from ggufsurgeon.leaderboard.harness.collecting import collect
from ggufsurgeon.leaderboard.harness.loading import LoadedTasks, load_tasks
from ggufsurgeon.leaderboard.harness.scoring import score
from ggufsurgeon.leaderboard.prompting import PLAIN, Prompting
from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationAnswer,
    GenerationRequest,
    LikelihoodAnswer,
    LikelihoodRequest,
)
from tests.leaderboard.answering import answers_to, render
from tests.leaderboard.conftest import SHARED
from tests.leaderboard.mirrors import rows_with_drawn_letters, write_benchmark, write_mirror

CHAT = Prompting(render)
GPT_4_RESPONSES = SHARED / "ifeval_gpt4_responses.jsonl"


@pytest.fixture(scope="module")
def tasks(mirror: Path) -> LoadedTasks:
    return load_tasks(BENCHMARK_NAMES, mirror)


@pytest.fixture(scope="module")
def answers(tasks: LoadedTasks) -> Mapping[EvaluationRequest, EvaluationAnswer]:
    return answers_to(collect(tasks))


@pytest.mark.parametrize("prompting", [PLAIN, CHAT], ids=["plain", "chat"])
@pytest.mark.parametrize("name", BENCHMARK_NAMES)
def test_scores_are_those_of_the_harness_itself(
    name: str, prompting: Prompting, tmp_path: Path
) -> None:
    """Its `simple_evaluate`, which loads its tasks itself, with the same answers: each document's
    scores, hashes and the aggregates, GPQA's shuffles included."""
    tasks = load_tasks([name], write_mirror(tmp_path / "mirror"))
    ours = score(tasks, answers_to(collect(tasks, prompting)), prompting)
    theirs = simple_evaluate(name, tmp_path / "mirror", prompting)
    assert [task.task for task in ours] == list(theirs["samples"])
    for task in ours:
        assert task.version == str(theirs["versions"][task.task])
        assert task.metrics == {
            metric: pytest.approx(theirs["results"][task.task][f"{metric},none"], abs=1e-15)
            for metric in task.metrics
        }
        samples = theirs["samples"][task.task]
        assert [as_compared(document) for document in task.documents] == [
            sample_as_compared(sample) for sample in samples
        ]


def as_compared(document: DocumentScore) -> tuple[Any, ...]:
    return tuple(document.key), dict(document.values)


def sample_as_compared(sample: dict[str, Any]) -> tuple[Any, ...]:
    key = tuple(sample[name] for name in ("doc_id", "doc_hash", "prompt_hash", "target_hash"))
    values = {metric: sample[metric] for metric in sample["metrics"]}
    return key, {
        metric: tuple(map(float, value)) if isinstance(value, list) else (float(value),)
        for metric, value in values.items()
    }


def simple_evaluate(name: str, mirror: Path, prompting: Prompting) -> dict[str, Any]:
    import lm_eval
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    from ggufsurgeon.leaderboard.harness.evaluation_model import EvaluationModel

    (benchmark,) = benchmarks_of([name])
    folder = Path(lm_eval.tasks.__file__).parent / "leaderboard"
    source = {
        "dataset_path": str(mirror / benchmark.folder),
        "dataset_kwargs": {"cache_dir": str(mirror / "cache")},
    }
    members = [{"task": task.task, **source} for task in benchmark.tasks]
    results: dict[str, Any] = lm_eval.simple_evaluate(
        model=EvaluationModel("made up", answers_to, prompting, lambda: "made up"),
        tasks=[{"group": "mirror", "task": members}],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        apply_chat_template=prompting.chat is not None,
        bootstrap_iters=0,
    )
    return results


def test_draws_of_the_harness_are_the_same_each_time(tmp_path: Path) -> None:
    """Whatever was drawn before; what is drawn afterwards is as if nothing had been scored."""
    rows = {("default", "train"): rows_with_drawn_letters(30)}
    write_benchmark(tmp_path / "ifeval", rows)
    tasks = load_tasks(["ifeval"], tmp_path)
    answers = answers_to(collect(tasks))
    random.seed(5)
    first = score(tasks, answers)
    drawn = random.random()
    assert score(tasks, answers) == first
    random.seed(5)
    assert random.random() == drawn


def test_a_score_does_not_depend_on_the_other_tasks(
    tasks: LoadedTasks, answers: Mapping[EvaluationRequest, EvaluationAnswer], mirror: Path
) -> None:
    alone = load_tasks(["gpqa", "ifeval"], mirror)
    together = {task.task: task for task in score(tasks, answers)}
    for task in score(alone, answers_to(collect(alone))):
        assert task == together[task.task]


def test_keys_are_equal_between_models(tasks: LoadedTasks) -> None:
    requests = collect(tasks)
    first, second = (score(tasks, answers_to(requests, model)) for model in ("a", "bb"))
    assert [keys(task) for task in first] == [keys(task) for task in second]
    assert any(a.metrics != b.metrics for a, b in zip(first, second, strict=True))


def keys(task: TaskScore) -> list[Any]:
    return [(document.key, document.cluster, document.n_choices) for document in task.documents]


def by_name(scores: tuple[TaskScore, ...]) -> dict[str, TaskScore]:
    return {task.task.removeprefix("leaderboard_"): task for task in scores}


def test_clusters_are_stories_and_questions(
    tasks: LoadedTasks, answers: Mapping[EvaluationRequest, EvaluationAnswer]
) -> None:
    scores = by_name(score(tasks, answers))
    placements = [document.cluster for document in scores["musr_object_placements"].documents]
    assert placements[0] == placements[1] != placements[2] == placements[3]
    diamond, extended, main = (
        [document.cluster for document in scores[f"gpqa_{name}"].documents]
        for name in ("diamond", "extended", "main")
    )
    assert diamond == extended[:3] and main == extended[:5] and len(set(extended)) == 8
    own = [document.cluster for task in scores.values() for document in task.documents]
    assert len(set(own)) == len(own) - 2 * 3 - 3 - 5


def test_choices_are_counted_of_each_document(
    tasks: LoadedTasks, answers: Mapping[EvaluationRequest, EvaluationAnswer]
) -> None:
    scores = by_name(score(tasks, answers))
    counts = {
        name: [document.n_choices for document in task.documents] for name, task in scores.items()
    }
    assert counts["mmlu_pro"] == [10, 9, 8, 7]
    assert counts["bbh_navigate"] == [2, 2, 2] and counts["bbh_object_counting"] == [19, 19, 19]
    assert counts["ifeval"] == [None] * 6


@pytest.mark.parametrize("choice", [0, 3], ids=["right", "wrong"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_document_with_an_answer_that_is_no_number_is_wrong(
    value: float, choice: int, mirror: Path
) -> None:
    """numpy's argmax takes NaN for the greatest: the harness would score it by where it stands."""
    tasks = load_tasks(["musr"], mirror)
    answers = dict(answers_to(collect(tasks)))
    for request in tuple(answers):
        assert isinstance(request, LikelihoodRequest)
        right = "number 0?" in request.context and request.continuation == " choice 0"
        answers[request] = LikelihoodAnswer(-1.0 if right else -2.0, False, 0)
    before = by_name(score(tasks, answers))
    spoilt = next(
        r for r in answers if "object_placements" in r.context and f"choice {choice}" in r[1]
    )
    answers[spoilt] = LikelihoodAnswer(value, False, 0)
    after = by_name(score(tasks, answers))
    was, now = (scores["musr_object_placements"] for scores in (before, after))
    assert was.documents[0].values == {"acc_norm": (1.0,)}
    assert now.documents[0].values == {"acc_norm": (0.0,)}
    assert (was.n_not_finite, now.n_not_finite) == (0, 1)
    assert now.metrics["acc_norm"] == was.metrics["acc_norm"] - 1 / 4
    assert now.documents[1:] == was.documents[1:]


def test_a_text_that_is_missing_for_that_reason_is_wrong(mirror: Path) -> None:
    tasks = load_tasks(["ifeval"], mirror)
    requests = collect(tasks)
    no_text = {request: GenerationAnswer(None, 3, False, 0) for request in requests}
    (task,) = score(tasks, no_text)
    assert task.n_not_finite == 6
    assert set(task.metrics.values()) == {0.0}
    assert task.documents[0].values["inst_level_strict_acc"] == (0.0, 0.0)


def test_a_missing_answer_is_named(tasks: LoadedTasks) -> None:
    answers = dict(answers_to(collect(tasks)))
    request = next(request for request in answers if "navigate" in request.context)
    del answers[request]
    with pytest.raises(UsageError, match="document 0 of leaderboard_bbh_navigate has no answer"):
        score(tasks, answers)


def test_thinking_is_not_scored(mirror: Path) -> None:
    tasks = load_tasks(["ifeval", "math"], mirror)
    prompting = Prompting(n_thinking_tokens=4096, thinking_end="</think>")
    plain, thinking = collect(tasks), collect(tasks, prompting)
    for request, longer in zip(plain, thinking, strict=True):
        assert isinstance(request, GenerationRequest)
        assert longer == request._replace(max_tokens=request.max_tokens + 4096)
    answers = answers_to(plain)
    thought = {
        longer: GenerationAnswer(
            f"<think>One, two.</think> 3</think>\n\n{text_of(answers[request])}", 9, False, 0
        )
        for request, longer in zip(plain, thinking, strict=True)
    }
    assert score(tasks, thought, prompting) == score(tasks, answers)
    assert score(tasks, thought, replace(prompting, thinking_end=None)) != score(tasks, answers)


def text_of(answer: EvaluationAnswer) -> str:
    assert isinstance(answer, GenerationAnswer) and answer.text is not None
    return answer.text.lstrip()


def test_prompting_refuses_what_makes_no_sense() -> None:
    with pytest.raises(UsageError):
        Prompting(n_thinking_tokens=-1)
    with pytest.raises(UsageError):
        Prompting(thinking_end="")


def test_scoring_belongs_in_the_main_thread(
    tasks: LoadedTasks, answers: Mapping[EvaluationRequest, EvaluationAnswer]
) -> None:
    """Elsewhere the scorer of MATH catches its own failure, and scores 0."""
    caught: list[UsageError] = []

    def attempt() -> None:
        with pytest.raises(UsageError) as raised:
            score(tasks, answers)
        caught.append(raised.value)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


class StoppedError(BaseException):
    pass


def test_a_signal_is_not_swallowed_by_the_scorer_of_math(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It catches whatever is raised while it compares with the older answer. Handlers, that of
    SIGALRM too, are as they were."""
    tasks = load_tasks(["math"], mirror)
    answers = answers_to(collect(tasks))
    process_results = tasks.tasks[0].task.config.process_results
    monkeypatch.setitem(process_results.__globals__, "process_result_v1", interrupting)

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise StoppedError

    before = signal.signal(signal.SIGINT, stop), signal.getsignal(signal.SIGALRM)
    try:
        with pytest.raises(StoppedError):
            score(tasks, answers)
        assert signal.getsignal(signal.SIGINT) is stop
        assert signal.getsignal(signal.SIGALRM) is before[1]
    finally:
        signal.signal(signal.SIGINT, before[0])


def interrupting(_document: dict[str, str], _text: str) -> int:
    signal.raise_signal(signal.SIGINT)
    return 1


def test_nothing_is_shown(mirror: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tasks = load_tasks(BENCHMARK_NAMES, mirror)
    score(tasks, answers_to(collect(tasks)))
    assert capfd.readouterr() == ("", "")


def test_gpt_4_follows_as_many_instructions_as_it_did(shared_benchmarks: Path) -> None:
    """The responses of GPT-4 that IFEval's authors published, to 540 of its 541 prompts."""
    tasks = load_tasks(["ifeval"], shared_benchmarks)
    responses = [json.loads(line) for line in GPT_4_RESPONSES.read_text().splitlines()]
    by_key = {response["key"]: response["response"] for response in responses}
    answers = dict(answers_to(collect(tasks)))
    for document in tasks.tasks[0].task.eval_docs:
        request = GenerationRequest(document["prompt"], (), 1280)
        assert request in answers
        answers[request] = GenerationAnswer(by_key.get(document["key"]), 1, False, 0)
    (task,) = score(tasks, answers)
    assert len(by_key) == 540 and task.n_not_finite == 1
    strict = [document.values["inst_level_strict_acc"] for document in task.documents]
    assert sum(map(sum, strict)) == 697
    assert sum(map(all, strict)) == 417
    answered = [
        scores
        for scores, document in zip(strict, tasks.tasks[0].task.eval_docs, strict=True)
        if document["key"] in by_key
    ]
    assert sum(map(len, answered)) == 832
