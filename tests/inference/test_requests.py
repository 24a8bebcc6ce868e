"""Requests to contexts by name, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import UsageError
from ggufsurgeon.inference.contexts import ContextKey, ContextSettings, context_named
from ggufsurgeon.inference.requests import RequestKind
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.session import Session
from tests.models.builders import with_text

GREEDY = {"prompt": "Once upon a time", "max_tokens": 6, "temperature": 0}
SMALL = ContextSettings(n_ctx=64)


def text_of(response: Any) -> str:
    return str(response["choices"][0]["text"])


def test_names_have_contexts_of_their_own(stories: Path) -> None:
    with gs.load(stories) as model:
        said = {
            name: text_of(
                model.request(RequestKind.COMPLETION, GREEDY, path, name=name, settings=SMALL)
            )
            for name, path in (("a", None), ("b", gs.drop("2:4")), ("c", gs.repeat("1:3")))
        }
        again = model.request(RequestKind.COMPLETION, GREEDY, name="a", settings=SMALL)
    assert said["a"] == text_of(again) != said["b"]


def test_a_name_that_is_asked_for_otherwise_gets_a_new_context(stories: Path) -> None:
    """The one before is freed: a conversation that changes its path many times stays small."""
    with Session() as session:
        models, identity = ModelPaths(stories), LayerPath.identity(5)
        keys = [
            ContextKey(models, identity, Devices(), SMALL),
            ContextKey(models, LayerPath("0..2,1..4"), Devices(), SMALL),
            ContextKey(models, LayerPath("0..2,1..4"), Devices(), ContextSettings(n_ctx=32)),
        ]
        made = [context_named(session, "chat", key) for key in keys]
        assert context_named(session, "chat", keys[-1]) is made[-1]
        assert list(session.kept) == ["chat"]
        for old in made[:-1]:
            with pytest.raises(UsageError, match=r"closed|no longer loaded"):
                old.llama.create_completion("Once", max_tokens=1)
        with pytest.raises(UsageError, match="no longer loaded"):
            made[1].model.tokenize(b"x")
        assert made[-1].llama.n_ctx() >= 32


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ messages | nonsense }}", "cannot be used"),
        ("{% if %}", "cannot be used"),
        ("{{ raise_exception('roles must') }}", "refuses the conversation: roles must"),
        ("{{ '\\ud800' }}", "half of a surrogate pair"),
    ],
)
def test_a_chat_template_that_fails(
    stories: Path, tmp_path: Path, template: str, says: str
) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(with_text(stories.read_bytes(), "tokenizer.chat_template", template))
    messages = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    with gs.load(model) as loaded:
        with pytest.raises(UsageError, match=says):
            loaded.request(RequestKind.CHAT, messages, settings=SMALL)
        chatml = ContextSettings(n_ctx=256, chat_format="chatml")
        assert loaded.request(RequestKind.CHAT, messages, settings=chatml)


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt": "x " * 300},
        {"prompt": []},
        {"prompt": 5},
        {"nonsense": 1, "prompt": "x"},
        {"prompt": "x", "grammar": "root ::= ("},
    ],
)
def test_what_llama_cpp_python_cannot_take_is_no_bug(
    stories: Path, arguments: dict[str, Any]
) -> None:
    with gs.load(stories) as model:
        with pytest.raises(UsageError):
            model.request(RequestKind.COMPLETION, arguments, settings=SMALL)
        assert model.request(RequestKind.COMPLETION, GREEDY, settings=SMALL)


@pytest.mark.parametrize("n_ctx", [8, 100, 257])
def test_a_context_of_any_size(stories: Path, n_ctx: int) -> None:
    """It is rounded up to 256 tokens, as llama.cpp does; text beyond that is refused."""
    prompt = {"prompt": "x " * 100, "max_tokens": 8}
    with gs.load(stories) as model:
        settings = ContextSettings(n_ctx=n_ctx)
        assert model.request(RequestKind.COMPLETION, prompt, settings=settings)
        longer = {"prompt": "x " * 600, "max_tokens": 1}
        with pytest.raises(UsageError, match="exceed context window of"):
            model.request(RequestKind.COMPLETION, longer, settings=settings)


def test_a_context_as_long_as_the_training(stories: Path) -> None:
    with gs.load(stories, in_process=True) as model:
        llama = model.aliased(gs.repeat("1:3")).llama(n_ctx=0)
        assert llama.n_ctx() == 2048


def test_more_context_than_positions(tmp_path: Path) -> None:
    from tests.models.expanding import expand_named

    model = expand_named("gpt2-dense@words=stories260K", tmp_path / "gpt2.gguf")
    with gs.load(model) as loaded, pytest.raises(UsageError, match="has positions for"):
        loaded.prepare(RequestKind.COMPLETION, settings=ContextSettings(n_ctx=10**6))
