"""Law: an aliased model computes what the written file does, bit for bit on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.models.expanding import expand_named

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.context import Batch, Results, opened_context
from ggufsurgeon.engine.high_level.llama_over import llama_over
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.routing.route import route
from tests.aliasing.opening import alias_along, opened_alias

pytestmark = pytest.mark.slow

N_TOKENS = 48
TOKENS = np.arange(1, N_TOKENS + 1, dtype=np.int32)
PATHS = {
    "stories": (
        "0..2,1..4",
        "0..3,2,3..4",
        "0,3..4",
        "4,3,2,1,0",
        "0..4",
        "0..2,1..2*0.5,3*0,4*0.3",
    ),
    "smollm2": ("0..16,10..29", "0..29,24..29"),
}
ARCHITECTURES = {
    "gemma3-dense": "0..4,1..7",
    "gpt-oss-moe": "0..5,2..7",
    "mamba2-dense": "0..3,2..7",
    "qwen35-dense": "0..3*0.5,4..7",
    "falcon-h1-dense": "0..3,2..7",
    "deepseek2-moe": "0..6,5..7",
    "rwkv7-dense": "0..3,2..7",
    "qwen3moe-moe": "7,0..7",
    "plm-dense": "0..3,2..7",
}
"""Sliding windows shorter than the text, experts, recurrent and hybrid ones, latent attention, and
one that llama.cpp runs without flash attention and ties the output of."""
CASES = [(name, path) for name, paths in PATHS.items() for path in paths]
Run = Callable[[Model], Results]


def in_small_windows(model: Model) -> Results:
    """With no more cache than the sliding windows need."""
    with opened_context(model, 64, 8, keeps_all_windows=False) as context:
        everything = Batch.of(TOKENS)
        parts = [everything.part(slice(n, n + 8)) for n in range(0, N_TOKENS, 8)]
        return np.vstack([np.array(context.decode(part)) for part in parts])


def at_once(model: Model) -> Results:
    with opened_context(model, 64, 64) as context:
        return np.array(context.decode(Batch.of(TOKENS)))


def token_by_token(model: Model) -> Results:
    with opened_context(model, 64, 64) as context:
        everything = Batch.of(TOKENS)
        parts = [everything.part(slice(n, n + 1)) for n in range(N_TOKENS)]
        return np.vstack([np.array(context.decode(part)) for part in parts])


def several_sequences(model: Model) -> Results:
    tokens = TOKENS.reshape(3, -1)
    n = tokens.shape[1]
    with opened_context(model, 256, 64, n_seq_max=3) as context:
        first = Batch.side_by_side(tokens[:, :10], 0, np.ones(10, dtype=np.bool_))
        rest = Batch.side_by_side(tokens[:, 10:], 10, np.ones(n - 10, dtype=np.bool_))
        return np.vstack([np.array(context.decode(batch)) for batch in (first, rest)])


@pytest.mark.parametrize("run", [at_once, token_by_token, several_sequences])
@pytest.mark.parametrize(("name", "path"), CASES)
def test_aliased_is_written(
    name: str, path: str, run: Run, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    file, written = request.getfixturevalue(name), tmp_path / "written.gguf"
    patch(file, written, LayerPath(path))
    with loaded_model(written, Devices()) as model:
        expected = run(model)
        n_blocks = model.n_blocks
    with opened_alias(file, path) as (_, model):
        assert model.n_blocks == n_blocks
        assert np.array_equal(run(model), expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_aliased_is_written_however_it_is_run(name: str, tmp_path: Path) -> None:
    path, written = ARCHITECTURES[name], tmp_path / "written.gguf"
    file = expand_named(name, tmp_path / "model.gguf")
    patch(file, written, LayerPath(path))
    runs = (at_once, token_by_token, several_sequences, in_small_windows)
    with loaded_model(written, Devices()) as model:
        expected = [run(model) for run in runs]
    with opened_alias(file, path) as (_, model):
        for run, result in zip(runs, expected, strict=True):
            assert np.array_equal(run(model), result), run.__name__


@pytest.mark.parametrize(("name", "path"), CASES)
def test_aliased_is_routed(name: str, path: str, request: pytest.FixtureRequest) -> None:
    with opened_alias(request.getfixturevalue(name), path) as (source, model):
        assert np.array_equal(at_once(model), route(source, LayerPath(path)).logits(TOKENS))


def test_several_models_over_one_source_at_once(stories: Path) -> None:
    """They and the source each keep their own."""
    paths = PATHS["stories"]
    with loaded_model(stories, Devices()) as source:
        before = at_once(source)
        models = [alias_along(source, path) for path in paths]
        together = [at_once(model) for model in models]
        alone = [route(source, LayerPath(path)).logits(TOKENS) for path in paths]
        assert all(map(np.array_equal, together, alone))
        assert np.array_equal(at_once(source), before)
        assert np.array_equal(together[paths.index("0..4")], before), "the identity path"
        assert not np.array_equal(together[0], together[1])


def test_llama_says_what_the_written_file_says(smollm2: Path, tmp_path: Path) -> None:
    """By llama-cpp-python's own class: chat template, sampler with a seed, streaming."""
    path, written = "0..29,24..29", tmp_path / "written.gguf"
    patch(smollm2, written, LayerPath(path))
    with loaded_model(written, Devices()) as file, opened_alias(smollm2, path) as (_, model):
        said, expected = (
            _chats(llama) for llama in (model.llama(n_ctx=256), llama_over(file, n_ctx=256))
        )
    assert said == expected
    assert len(set(said)) == len(said) and all(said)


def _chats(llama: Any) -> list[str]:
    ask = {"messages": [{"role": "user", "content": "Name three animals."}], "max_tokens": 24}
    greedy = llama.create_chat_completion(**ask, temperature=0)
    drawn = llama.create_chat_completion(**ask, temperature=1.5, seed=7)
    streamed = llama.create_chat_completion(**ask, temperature=1.2, seed=3, stream=True)
    pieces = [part["choices"][0]["delta"].get("content", "") for part in streamed]
    return [*(one["choices"][0]["message"]["content"] for one in (greedy, drawn)), "".join(pieces)]
