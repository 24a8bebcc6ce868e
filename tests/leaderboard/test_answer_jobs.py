"""The jobs over real files: paths, parts of the work, texts and their ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.leaderboard.answering.jobs import answer_requests, describe_requests
from ggufsurgeon.leaderboard.answering.work import Answered, AnswerSettings, PathWork, RequestTable
from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationAnswer,
    GenerationRequest,
    LikelihoodAnswer,
    LikelihoodRequest,
)
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.runner import InProcess
from ggufsurgeon.workers.worker import Worker
from tests.calls import patch

ONE_THREAD = Devices(n_threads=1)
IDENTITY = LayerPath("0..4")
DUPLICATED = LayerPath("0..3,2..4")
SHOTS = "Tom saw a dog. The dog was big.\n\nLily had a red ball. The ball was new.\n\n"
QUESTIONS = [f"{who} {did}" for who in ("Tom", "Lily", "A cat") for did in ("saw", "wanted to")]
CHOICES = [" a", " the", " a big dog", " play with her", " go home and eat"]
REQUESTS: tuple[EvaluationRequest, ...] = (
    *(LikelihoodRequest(SHOTS + one, choice) for one in QUESTIONS for choice in CHOICES),
    *(GenerationRequest(SHOTS + one, ("dog", "."), 8 + len(one)) for one in QUESTIONS),
    LikelihoodRequest("", "Once upon a time"),
    GenerationRequest("Once upon a time", (), 30),
)
EVERY = tuple(range(len(REQUESTS)))


class Steps:
    """The progress of a job."""

    def __init__(self) -> None:
        self.steps: list[list[int]] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        self.steps.append([total, 0])

    def advance(self, n: int, note: str = "") -> None:
        self.steps[-1][1] += n


def answers(
    model: Path,
    work: Sequence[PathWork],
    requests: tuple[EvaluationRequest, ...] = REQUESTS,
    settings: AnswerSettings | None = None,
    *,
    runner: type[InProcess] | type[Worker] = InProcess,
) -> dict[tuple[str, int], EvaluationAnswer]:
    found: dict[tuple[str, int], EvaluationAnswer] = {}
    steps = Steps()

    def take(some: tuple[Answered, ...]) -> None:
        assert some
        for one in some:
            assert (str(one.layer_path), one.number) not in found
            found[str(one.layer_path), one.number] = one.answer

    arguments = ModelPaths(model), ONE_THREAD, requests, work, settings or AnswerSettings()
    with runner() as running:
        running.run(answer_requests, *arguments, progress=steps, on_result=take)
    assert all(total == done for total, done in steps.steps)
    return found


def described(
    model: Path, requests: tuple[EvaluationRequest, ...], settings: AnswerSettings
) -> RequestTable:
    with InProcess() as running:
        return running.run(describe_requests, ModelPaths(model), ONE_THREAD, requests, settings)


def test_every_missing_request_is_answered_along_every_path(stories: Path) -> None:
    work = [PathWork(IDENTITY, EVERY), PathWork(DUPLICATED, EVERY[::3])]
    found = answers(stories, work, runner=Worker)
    wanted = [(str(IDENTITY), n) for n in EVERY] + [(str(DUPLICATED), n) for n in EVERY[::3]]
    assert sorted(found) == sorted(wanted)
    for (_, number), answer in found.items():
        is_text = isinstance(REQUESTS[number], GenerationRequest)
        assert isinstance(answer, GenerationAnswer if is_text else LikelihoodAnswer)
    assert any(found[str(IDENTITY), n] != found[str(DUPLICATED), n] for n in EVERY[::3])


def test_an_aliased_path_answers_as_its_file(stories: Path, tmp_path: Path) -> None:
    patch(stories, tmp_path / "patched.gguf", DUPLICATED)
    whole = LayerPath("0..6")
    written = answers(tmp_path / "patched.gguf", [PathWork(whole, EVERY)])
    aliased = answers(stories, [PathWork(DUPLICATED, EVERY)])
    assert all(aliased[str(DUPLICATED), n] == written[str(whole), n] for n in EVERY)


def test_a_run_that_goes_on_has_the_same_answers_to_the_bit(stories: Path) -> None:
    """All requests decide which run together, whichever are missing."""
    whole = answers(stories, [PathWork(IDENTITY, EVERY)])
    for missing in (EVERY[::7], EVERY[len(EVERY) // 2 :], (EVERY[-1],)):
        rest = answers(stories, [PathWork(IDENTITY, missing)])
        assert rest == {(str(IDENTITY), n): whole[str(IDENTITY), n] for n in missing}


def test_one_text_at_a_time_is_the_same_text(stories: Path) -> None:
    texts = tuple(one for one in REQUESTS if isinstance(one, GenerationRequest))
    work = [PathWork(IDENTITY, tuple(range(len(texts))))]
    together = answers(stories, work, texts)
    assert together == answers(stories, work, texts, AnswerSettings(n_parallel=1))


def test_texts_end_at_stop_strings_and_limits(stories: Path) -> None:
    prompt = "Once upon a time, there was a"
    requests = tuple(
        GenerationRequest(prompt, stops, most)
        for stops, most in (((), 40), (("Lily",), 40), (("L",), 40), ((), 3), (("zzz", "a"), 40))
    )
    found = answers(stories, [PathWork(IDENTITY, tuple(range(5)))], requests)
    whole, name, letter, short, second = (found[str(IDENTITY), n] for n in range(5))
    assert isinstance(whole, GenerationAnswer) and whole.text is not None
    assert "Lily" in whole.text and whole.is_at_limit and whole.n_tokens == 40
    for one, stop in ((name, "Lily"), (letter, "L"), (second, "a")):
        assert isinstance(one, GenerationAnswer)
        assert one.text == whole.text.split(stop)[0]
        assert not one.is_at_limit and one.n_tokens < 40
    assert isinstance(short, GenerationAnswer) and short.text is not None
    assert whole.text.startswith(short.text) and short.is_at_limit and short.n_tokens == 3


def test_texts_that_the_model_ends(smollm2: Path) -> None:
    """The token that ends a turn is neither in the text nor counted."""
    chat = "<|im_start|>user\nSay just: yes<|im_end|>\n<|im_start|>assistant\n"
    work = [PathWork(LayerPath("0..29"), (0,))]
    (answer,) = answers(smollm2, work, (GenerationRequest(chat, (), 60),)).values()
    assert isinstance(answer, GenerationAnswer) and answer.text
    assert "<|im_end|>" not in answer.text and not answer.is_at_limit and answer.n_tokens < 60


def test_sizes_are_known_before(stories: Path) -> None:
    table = described(stories, REQUESTS, AnswerSettings())
    assert table.n_ctx == 2048 and table.n_requests_cut == 0
    assert len(table.n_tokens) == len(table.n_cut) == len(REQUESTS)
    assert table.n_run < sum(table.n_tokens) / 5
    texts = [one for one in REQUESTS if isinstance(one, GenerationRequest)]
    assert table.n_most_generated == sum(one.max_tokens for one in texts)


def test_what_a_short_context_cuts_is_told_and_done(stories: Path) -> None:
    settings = AnswerSettings(n_ctx=48)
    table = described(stories, REQUESTS, settings)
    assert 0 < table.n_requests_cut < len(REQUESTS) and table.n_ctx == 48
    found = answers(stories, [PathWork(IDENTITY, EVERY)], settings=settings)
    assert tuple(found[str(IDENTITY), n].n_cut for n in EVERY) == table.n_cut


def test_bad_settings_are_refused(stories: Path) -> None:
    for settings, says in (
        (AnswerSettings(n_parallel=0), "0 texts"),
        (AnswerSettings(n_parallel=256), "256 texts"),
        (AnswerSettings(n_ctx=1), "at least 2"),
    ):
        with pytest.raises(UsageError, match=says):
            described(stories, REQUESTS, settings)
