"""Answers in a shared context, against each request by itself, for every kind of cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.context import opened_context
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.leaderboard.answering.encoding import GenerationTokens, LikelihoodTokens
from ggufsurgeon.leaderboard.answering.prefix_order import generation_units, likelihood_units
from ggufsurgeon.leaderboard.answering.running import generations, likelihoods
from ggufsurgeon.leaderboard.answering.running.generations import GenerationRun
from ggufsurgeon.leaderboard.answering.running.likelihoods import LikelihoodRun
from ggufsurgeon.leaderboard.requests import GenerationAnswer, LikelihoodAnswer
from ggufsurgeon.routing.route import route
from tests.conftest import ROOT
from tests.leaderboard.requests import generation_requests, likelihood_requests
from tests.models.expanding import expand

CACHES = {
    "llama-dense": "one cache",
    "gemma3-dense": "sliding windows beside a whole cache",
    "gemma4_shared_kv-dense": "blocks that share a cache",
    "gpt2-dense": "learned positions",
    "bloom-dense": "ALiBi",
    "llama-moe": "experts",
    "deepseek2-moe": "latent attention",
    "llama4-moe": "chunked attention",
    "mamba-dense": "a recurrent state",
    "rwkv7-dense": "a recurrent state",
    "jamba-dense": "a hybrid",
    "falcon-h1-dense": "a hybrid",
    "qwen3next-moe": "a hybrid",
    "lfm2-dense": "a hybrid",
}
FAST = ("llama-dense", "gemma3-dense", "lfm2-dense")
TOLERANCE = 2e-3
"""In nats, for weights of 32 bits: kernels for CPUs round by the shape of a batch."""
N_PARALLEL = 3


@contextmanager
def expanded(stem: str, folder: Path) -> Iterator[Model]:
    path = expand(ROOT / f"fixtures/arch_headers/{stem}.gguf", folder / "model.gguf", 5)
    with loaded_model(path, Devices(n_threads=1)) as model:
        yield model


def answered(
    model: Model, requests: dict[int, LikelihoodTokens]
) -> tuple[dict[int, LikelihoodAnswer], int]:
    """The answers, and how many tokens were run for them."""
    may_share = not model.has_state
    cells = likelihoods.n_cells(requests, may_share=may_share)
    n_sequences = likelihoods.n_sequences(may_share=may_share)
    n_run: list[int] = []
    found: dict[int, LikelihoodAnswer] = {}
    with (
        opened_context(model, cells, min(512, cells), n_sequences, sharing=may_share) as context,
        ThreadPoolExecutor(2) as pool,
    ):
        run = LikelihoodRun(context, requests, pool, may_share=may_share)
        for unit in likelihood_units(requests, may_share=may_share):
            for answers in run.answers(unit, n_run.append):
                assert not found.keys() & {index for index, _ in answers}
                found.update(answers)
    return found, sum(n_run)


def alone(model: Model, request: LikelihoodTokens) -> tuple[float, bool, float]:
    """By `route`: log-likelihood, greediness, and how far the closest decision for it was."""
    path = LayerPath.identity(model.n_blocks)
    logits = route(model, path).logits(request.inputs())[len(request.context) - 1 :]
    logits = logits.astype(np.float64)
    at = np.arange(len(logits)), request.continuation
    log_probs = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1))[:, None]
    log_probs -= logits.max(1, keepdims=True)
    others = logits.copy()
    others[at] = -np.inf
    margin = float(np.min(np.abs(logits[at] - others.max(1))))
    return float(log_probs[at].sum()), bool((logits[at] > others.max(1)).all()), margin


def generated(model: Model, requests: dict[int, GenerationTokens]) -> dict[int, Any]:
    may_share = not model.has_state
    units = generation_units(requests, N_PARALLEL, may_share=may_share)
    cells = generations.n_cells(units, requests, N_PARALLEL, may_share=may_share)
    n_sequences = generations.n_sequences(N_PARALLEL, may_share=may_share)
    found: dict[int, GenerationAnswer] = {}
    with opened_context(model, cells, min(512, cells), n_sequences, sharing=may_share) as context:
        run = GenerationRun(context, model, requests, N_PARALLEL, may_share=may_share)
        for unit in units:
            for answers in run.answers(unit, lambda _n: None):
                found.update(answers)
    return found


@pytest.mark.parametrize(
    "stem",
    [pytest.param(stem, marks=[] if stem in FAST else pytest.mark.slow) for stem in CACHES],
)
def test_log_likelihoods_are_those_of_each_request_by_itself(stem: str, tmp_path: Path) -> None:
    with expanded(stem, tmp_path) as model:
        requests = likelihood_requests(model.n_vocab, (40, 90))
        found, n_run = answered(model, requests)
        assert found.keys() == requests.keys()
        n_alone = sum(one.n_inputs for one in requests.values())
        assert n_run < n_alone / (1.5 if model.has_state else 5)
        for index, request in requests.items():
            log_likelihood, is_greedy, margin = alone(model, request)
            assert abs(found[index].log_likelihood - log_likelihood) < TOLERANCE
            assert found[index].is_greedy == is_greedy or margin < TOLERANCE


def test_greedy_continuations_are_told(tmp_path: Path) -> None:
    """Continuations that the model itself writes, and the same with another last token."""
    with expanded("llama-dense", tmp_path) as model:
        path = LayerPath.identity(model.n_blocks)
        requests = {}
        for number, one in likelihood_requests(model.n_vocab, (20,)).items():
            logits = route(model, path).logits(one.context)
            best = logits[-1].argsort()[::-1].astype(np.int32)
            requests[2 * number] = one._replace(continuation=best[:1])
            requests[2 * number + 1] = one._replace(continuation=best[1:2])
        found, _ = answered(model, requests)
        assert all(one.is_greedy == (index % 2 == 0) for index, one in found.items())


@pytest.mark.parametrize("stem", ["llama-dense", "gemma3-dense", "lfm2-dense"])
def test_texts_are_those_of_each_prompt_by_itself(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of these models without vocabularies, the tokens."""
    monkeypatch.setattr(Model, "text_of", lambda _self, _token: b"")
    monkeypatch.setattr(Model, "ends_generation", lambda _self, _token: False)
    monkeypatch.setattr(Model, "visible_text", lambda _self, tokens: str(tokens))
    with expanded(stem, tmp_path) as model:
        requests = generation_requests(model.n_vocab)
        long = np.resize(requests[0].prompt, 700)  # more than an equal part of all
        requests[99] = requests[0]._replace(prompt=long)
        found = generated(model, requests)
        assert found.keys() == requests.keys()
        for index, request in requests.items():
            path = LayerPath.identity(model.n_blocks)
            tokens = list(route(model, path).generate(request.prompt, request.max_tokens))
            assert found[index] == GenerationAnswer(str(tokens), request.max_tokens, True, 0)


def broken_model(folder: Path, stories: Path, token: int) -> Path:
    """A model whose embedding of one token is not a number."""
    from ggufsurgeon.container.gguf_file import open_gguf

    file = open_gguf(stories)
    content = bytearray(stories.read_bytes())
    (at,) = (n for n, one in enumerate(file.header.tensors) if one.name == "token_embd.weight")
    start = file.offset_in_file(at) + 4 * token * file.header.tensors[at].dims[0]
    content[start : start + 4] = np.float32(np.nan).tobytes()
    path = folder / "broken.gguf"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("flash_attention", [True, False])
def test_only_requests_with_broken_numbers_are_not_numbers(
    flash_attention: bool, tmp_path: Path, stories: Path
) -> None:
    """Also where what one sequence computes can reach another by masks that are added."""
    token = 300
    requests = likelihood_requests(512, (40, 90), seed=3)
    for index in list(requests)[::5]:
        one = requests[index]
        middle = len(one.context) // 2
        context = np.concatenate([one.context[:middle], [token], one.context[middle:]])
        requests[index] = one._replace(context=context.astype(np.int32))
    with loaded_model(stories, Devices(n_threads=1)) as model:
        model.flash_attention = flash_attention
        right, _ = answered(model, requests)
    with loaded_model(broken_model(tmp_path, stories, token), Devices(n_threads=1)) as model:
        model.flash_attention = flash_attention
        found, _ = answered(model, requests)
    n_broken = 0
    for index, one in requests.items():
        is_broken = token in one.inputs()
        assert math.isnan(found[index].log_likelihood) == is_broken
        assert is_broken or abs(found[index].log_likelihood - right[index].log_likelihood) < 0.05
        n_broken += is_broken
    assert 0 < n_broken < len(requests) / 2


@pytest.mark.parametrize("flash_attention", [True, False])
def test_only_prompts_with_broken_numbers_have_no_text(
    flash_attention: bool, tmp_path: Path, stories: Path
) -> None:
    token = 300
    requests = generation_requests(512, (40, 9), seed=3)
    for index in list(requests)[::3]:
        prompt = requests[index].prompt.copy()
        prompt[len(prompt) // 2] = token
        requests[index] = requests[index]._replace(prompt=prompt)
    with loaded_model(broken_model(tmp_path, stories, token), Devices(n_threads=1)) as model:
        model.flash_attention = flash_attention
        found = generated(model, requests)
    for index, one in requests.items():
        assert (found[index].text is None) == (token in one.prompt)


def test_a_model_that_is_broken_everywhere_is_not_run_for_each_request(
    tmp_path: Path, stories: Path
) -> None:
    requests = {
        index: one._replace(context=np.concatenate([[1], one.context]).astype(np.int32))
        for index, one in likelihood_requests(512, (40, 90)).items()
    }
    with loaded_model(broken_model(tmp_path, stories, 1), Devices(n_threads=1)) as model:
        found, n_run = answered(model, requests)
    assert all(math.isnan(one.log_likelihood) for one in found.values())
    assert n_run < 1000
