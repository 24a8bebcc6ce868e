"""Requests in tokens, as lm-evaluation-harness' own model class makes them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.answering.encoding import (
    EncodedRequests,
    context_limit,
    encode_requests,
)
from ggufsurgeon.leaderboard.requests import (
    EvaluationRequest,
    GenerationRequest,
    LikelihoodRequest,
)

PAIRS = [
    ("Once upon a time, there was", " a little girl"),
    ("Once upon a time \n \n", "there was"),
    ("Q: Who is there?\nA:", " Lily"),
    ("Q: Who is there?\nA: ", "Lily"),
    ("A tale:\n\n\n", "\n\n"),
    ("<s>Once upon", " a time"),
    ("Hello</s>", " there"),
    ("  Lily", "  (A)"),
    ("été ", "naïve 🙂"),
    ("", "Once upon a time"),
    ("", "<s>Once"),
]


@pytest.fixture(scope="module", params=["stories", "smollm2"])
def model(request: pytest.FixtureRequest) -> Iterator[Model]:
    with loaded_model(request.getfixturevalue(request.param), Devices(n_threads=1)) as loaded:
        yield loaded


def encoded(
    model: Model, *requests: EvaluationRequest, n_ctx: int | None = None
) -> EncodedRequests:
    with ThreadPoolExecutor(2) as pool:
        return encode_requests(model, requests, context_limit(model, n_ctx), pool)


def by_harness(model: Model, pairs: list[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    """What lm-eval's `TemplateLM.loglikelihood` hands on to a backend."""
    api = pytest.importorskip("lm_eval.api.model", reason="needs the leaderboard extra")

    class Recording(api.TemplateLM):  # type: ignore[name-defined, misc]
        backend = "causal"
        eot_token_id = model.eos
        prefix_token_id = model.bos if model.bos >= 0 else model.eos
        found: Any = ()

        def tok_encode(
            self, string: str, add_special_tokens: bool | None = None, **_: object
        ) -> list[int]:
            """As HFLM.tok_encode, over the tokenizer of the file."""
            adds_bos = model.adds_bos if add_special_tokens is None else add_special_tokens
            if add_special_tokens is None and string.startswith(model.name_of(model.bos)):
                adds_bos = False
            tokens = model.tokenize(string.encode(), is_rendered=True).tolist()
            return [model.bos, *tokens] if adds_bos and model.adds_bos else tokens

        def _loglikelihood_tokens(self, requests: Any, **_: object) -> Any:
            self.found = [(context, rest) for _, context, rest in requests]

        def loglikelihood_rolling(self, requests: Any, **_: object) -> Any:
            raise NotImplementedError

        def generate_until(self, requests: Any, **_: object) -> Any:
            raise NotImplementedError

    harness = Recording()
    harness.loglikelihood([SimpleNamespace(args=pair) for pair in pairs], disable_tqdm=True)
    return harness.found  # type: ignore[no-any-return]


def test_contexts_and_continuations_are_those_of_the_harness(model: Model) -> None:
    found = encoded(model, *(LikelihoodRequest(*pair) for pair in PAIRS)).likelihoods
    for index, (context, continuation) in enumerate(by_harness(model, PAIRS)):
        pair = PAIRS[index]
        assert found[index].context.tolist() == context, pair
        assert found[index].continuation.tolist() == continuation, pair
        assert found[index].n_cut == 0


def test_equal_contexts_are_one_array(model: Model) -> None:
    choices = [LikelihoodRequest("Who? ", choice) for choice in ("Lily", "Tom", "a cat")]
    found = encoded(model, *choices).likelihoods
    assert found[0].context is found[1].context is found[2].context


def test_bos_comes_once(stories: Path) -> None:
    with loaded_model(stories, Devices(n_threads=1)) as model:
        assert model.adds_bos
        for text in ("Once", "<s>Once", "<s> Once"):
            tokens = model.tokenize_prompt(text).tolist()
            assert tokens[0] == model.bos and model.bos not in tokens[1:]
        assert model.bos not in model.tokenize_prompt("Once", adds_bos=False)


def test_long_contexts_lose_their_beginning(model: Model) -> None:
    """As HFLM: the last n_ctx input tokens are run, and the last n_ctx - max_tokens of a prompt."""
    pair = LikelihoodRequest("Once upon a time, there was a little girl named", " Lily and Tom")
    whole = encoded(model, pair).likelihoods[0]
    for n_ctx in range(len(whole.continuation), whole.n_inputs + 2):
        if n_ctx < 2:
            continue
        cut = encoded(model, pair, n_ctx=n_ctx).likelihoods[0]
        both = [*whole.context.tolist(), *whole.continuation.tolist()]
        assert cut.inputs().tolist() == both[-(n_ctx + 1) :][:-1]
        assert cut.continuation.tolist() == whole.continuation.tolist()
        assert cut.n_cut == max(0, whole.n_inputs - n_ctx)
    prompt = encoded(model, GenerationRequest(pair.context, (), 4)).generations[0].prompt
    cut_text = encoded(model, GenerationRequest(pair.context, (), 4), n_ctx=9).generations[0]
    assert cut_text.prompt.tolist() == prompt.tolist()[-5:]
    assert cut_text.n_cut == len(prompt) - 5


def test_the_context_is_never_longer_than_the_model_was_trained_on(model: Model) -> None:
    assert context_limit(model, None) == context_limit(model, 10**9) == model.n_ctx_train
    assert context_limit(model, 100) == 100


@pytest.mark.parametrize(
    ("request_", "n_ctx", "says"),
    [
        (LikelihoodRequest("Once", ""), None, "no tokens of its own"),
        (LikelihoodRequest("Once", " upon a time there was a girl"), 3, "context has 3"),
        (LikelihoodRequest("Once", "\ud800"), None, "not Unicode"),
        (GenerationRequest("Once", (), 0), None, "answer of 0 tokens"),
        (GenerationRequest("Once", (), 64), 64, "answer of 64 tokens"),
        (GenerationRequest("Once", (), 5), 1, "at least 2"),
    ],
)
def test_requests_that_do_not_fit_are_refused(
    model: Model, request_: EvaluationRequest, n_ctx: int | None, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        encoded(model, request_, n_ctx=n_ctx)
