"""What the server answers: along each path, what the written file answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")
pytest.importorskip("fastapi", reason="needs the serve extra")

import ggufsurgeon as gs
from ggufsurgeon.layer_path.path import LayerPath
from tests import calls
from tests.conftest import ROOT
from tests.serving.server import (
    CHAT_FORMAT,
    NAMES,
    PATHS,
    Server,
    answers_of_file,
    messages,
    model_options,
    running_server,
)

TEXTS = ["Hello", "Once upon a time", "The dog was big. " * 20]
N_TOKENS = 24
STORIES = ROOT / "fixtures/stories260K.gguf"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = ["--ctx", "512", "--chat-format", CHAT_FORMAT, "--threads", "1"]
    with running_server(STORIES, *options, *model_options()) as running:
        yield running


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The answers of the written files, by name."""
    folder = tmp_path_factory.mktemp("written")
    found = {NAMES[0]: answers_of_file(STORIES, TEXTS, N_TOKENS)}
    for name, path in PATHS.items():
        calls.patch(STORIES, folder / name, LayerPath(path))
        found[name] = answers_of_file(folder / name, TEXTS, N_TOKENS)
    assert len({tuple(answers) for answers in found.values()}) == len(found)
    return found


def ask(server: Server, name: str, text: Any) -> str:
    answer = server.client().chat.completions.create(
        model=name, messages=messages(text), temperature=0, max_tokens=N_TOKENS
    )
    assert answer.model == name
    return answer.choices[0].message.content or ""


def stream(server: Server, name: str, text: str) -> str:
    chunks = server.client().chat.completions.create(
        model=name, messages=messages(text), temperature=0, max_tokens=N_TOKENS, stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_each_name_is_listed(server: Server) -> None:
    assert [model.id for model in server.client().models.list()] == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", [ask, stream])
def test_answers_are_those_of_the_written_file(
    server: Server, expected: dict[str, list[str]], name: str, way: object
) -> None:
    assert [way(server, name, text) for text in TEXTS] == expected[name]  # type: ignore[operator]


def test_parallel_clients_get_each_their_own_answer(
    server: Server, expected: dict[str, list[str]]
) -> None:
    """Nothing is lost and nothing mixed up, over three paths, streamed and whole."""
    jobs = [
        (way, name, at)
        for _ in range(3)
        for way in (ask, stream)
        for name in NAMES
        for at in range(len(TEXTS))
    ]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda job: job[0](server, job[1], TEXTS[job[2]]), jobs))
    assert found == [expected[name][at] for _, name, at in jobs]


def test_a_text_is_continued(server: Server) -> None:
    client = server.client()

    def told(name: str) -> str:
        done = client.completions.create(
            model=name, prompt="Once upon a time", temperature=0, max_tokens=5
        )
        return done.choices[0].text

    assert told(NAMES[0]) == ", there was a little"
    assert told("short") != told(NAMES[0])


def test_a_grammar_biases_and_a_least_length(server: Server) -> None:
    client = server.client()
    common = {"model": "rys", "prompt": "Once", "max_tokens": 4, "temperature": 0}
    grammar = client.completions.create(**common, extra_body={"grammar": 'root ::= "yes" | "no"'})  # type: ignore[call-overload]
    assert grammar.choices[0].text in ("yes", "no")
    biased = client.completions.create(  # type: ignore[call-overload]
        **common, extra_body={"logit_bias": {"dog": 100}, "logit_bias_type": "tokens"}
    )
    assert set(biased.choices[0].text) <= set("dog ")
    longer = client.completions.create(**common, extra_body={"min_tokens": 3})  # type: ignore[call-overload]
    assert longer.usage is not None and longer.usage.completion_tokens >= 3


def test_tokens_are_continued(server: Server) -> None:
    """The tokens of a text as the text."""
    client = server.client()
    common = {"model": "rys", "temperature": 0, "max_tokens": 8}
    with gs.load(STORIES, in_process=True) as model:
        tokens = (
            model.aliased(LayerPath(PATHS["rys"])).llama(n_ctx=64).tokenize(b"Once upon a time")
        )
    texts = {
        client.completions.create(prompt=prompt, **common).choices[0].text  # type: ignore[call-overload]
        for prompt in ("Once upon a time", tokens, ["Once upon a time"])
    }
    assert len(texts) == 1


def test_text_in_parts_is_one_text(server: Server) -> None:
    def said(content: Any) -> str:
        return ask(server, "rys", content)

    parts = [{"type": "text", "text": text} for text in TEXTS[1:]]
    assert said(parts) == said("\n".join(TEXTS[1:])) != said(TEXTS[1])


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_a_stream_counts_its_tokens(server: Server, kind: str) -> None:
    """As the whole answer does."""
    client = server.client()
    create: Any = client.chat.completions.create if kind == "chat" else client.completions.create
    text = {"messages": messages("Hello")} if kind == "chat" else {"prompt": "Once"}
    common = {"model": "rys", "temperature": 0, "max_tokens": 9, **text}
    whole = create(**common)
    *chunks, last = create(**common, stream=True, stream_options={"include_usage": True})
    assert last.choices == [] and all(chunk.choices for chunk in chunks)
    assert last.usage == whole.usage and last.usage.completion_tokens == 9


def test_a_schema_is_kept_to(server: Server) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    create: Any = server.client().chat.completions.create
    for form in (
        {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        {"type": "json_object", "schema": schema},
    ):
        answer = create(
            model="rys", messages=messages("Hello"), max_tokens=200, response_format=form
        )
        assert isinstance(json.loads(answer.choices[0].message.content)["a"], bool)


def test_embeddings_of_an_encoder(tmp_path: Path) -> None:
    """Along a path they are those of the written file."""
    from llama_cpp import Llama

    from tests.models.expanding import expand_named

    model = expand_named("modern-bert-dense@words=stories260K", tmp_path / "encoder.gguf")
    calls.patch(model, tmp_path / "written.gguf", LayerPath("0..4,3..7"))
    options = {"embedding": True, "pooling_type": 1, "n_ctx": 64, "verbose": False}
    llama = Llama(str(tmp_path / "written.gguf"), **options)
    written = llama.create_embedding("hello there")["data"][0]["embedding"]
    with running_server(model, "--model", "twice=0..4,3..7", "--ctx", "64") as running:
        found, both = (
            running.client().embeddings.create(model="twice", input=text, encoding_format="float")
            for text in ("hello there", ["hello there", "x"])
        )
    assert len(found.data) == 1 and len(both.data) == 2
    assert found.data[0].embedding == written
