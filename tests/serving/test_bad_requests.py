"""Requests that cannot be answered, clients that go away, and the end of the server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")
pytest.importorskip("fastapi", reason="needs the serve extra")

from tests.cli.failing import assert_told
from tests.conftest import ROOT, Run
from tests.interrupts import children
from tests.models.builders import with_text
from tests.serving.server import NAMES, Server, messages, model_options, running_server

STORIES = ROOT / "fixtures/stories260K.gguf"
OPTIONS = ("--ctx", "256", "--threads", "1")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server(STORIES, *OPTIONS, *model_options()) as running:
        yield running
        assert running.process.poll() is None


@pytest.fixture(scope="module")
def chat_server() -> Iterator[Server]:
    with running_server(STORIES, *OPTIONS, "--chat-format", "chatml") as running:
        yield running
        assert running.process.poll() is None


def post(server: Server, route: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    headers = {"content-type": "application/json", **headers}
    request = urllib.request.Request(f"{server.url}/{route}", body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def is_alive(server: Server) -> bool:
    done = server.client().completions.create(model="rys", prompt="Once", max_tokens=2)
    return bool(done.choices)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"model": ', 400, "the body is not JSON: Expecting value, at character 10"),
        (b"[]", 400, "a JSON object"),
        (b"{}", 400, "prompt"),
        (b'{"prompt": "x", "temperature": "hot"}', 400, "temperature"),
        (b'{"prompt": "x", "model": "no"}', 404, "the names are stories260K, rys, short"),
        (b'{"prompt": "x", "n": 2}', 400, "n: expected 1"),
        (b'{"prompt": ["x", "y"]}', 400, "expected one text"),
        (b'{"prompt": "' + b"x " * 2000 + b'"}', 400, "exceed context window of 256"),
        (b'{"stream": true, "prompt": "' + b"x " * 2000 + b'"}', 400, "exceed context window"),
        (b'{"prompt": "x", "grammar": "root ::= ("}', 400, ""),
        (b'{"prompt": "x", "logit_bias": {"word": 1}}', 400, "no token word"),
        (b'{"prompt": "x", "logit_bias": {"512": 1}}', 400, "no token 512"),
        (b'{"prompt": "x", "temperature": -1}', 400, "temperature"),
        (b'{"prompt": "x", "max_tokens": 0}', 400, "max_tokens"),
        (b'{"prompt": [1, 512]}', 400, "0 to 511"),
        (b'{"prompt": [-1]}', 400, "0 to 511"),
        (b'{"prompt": []}', 400, "expected one text"),
        (b'{"prompt": "\\ud800"}', 400, "surrogate"),
    ],
)
def test_a_bad_request_is_told_and_the_server_lives(
    server: Server, body: bytes, status: int, says: str
) -> None:
    found, answer = post(server, "completions", body)
    assert (found, set(answer)) == (status, {"error"})
    assert says in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"
    assert is_alive(server)


@pytest.mark.slow
def test_a_chat_template_without_an_end(tmp_path: Path) -> None:
    template = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
    model = tmp_path / "model.gguf"
    model.write_bytes(with_text(STORIES.read_bytes(), "tokenizer.chat_template", template))
    with running_server(model, *OPTIONS, "--model", "rys=0..3,2..4") as server:
        with pytest.raises(openai.BadRequestError, match="it takes longer than 5 seconds"):
            server.client().chat.completions.create(model="rys", messages=messages("Hi"))
        assert is_alive(server)


def test_a_chat_without_a_template(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match=r"has no chat template.*chatml"):
        server.client().chat.completions.create(model="rys", messages=messages("Hi"))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"messages": []}, "messages"),
        ({"messages": ["Hello"]}, "messages.0"),
        ({"messages": [{"content": "Hello"}]}, "messages.0: expected an object with role"),
        ({"messages": [{"role": "user"}]}, "messages.0: the content is missing"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "messages.0.content: a part of type image_url",
        ),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"logprobs": True}, "logprobs: not supported"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
    ],
)
def test_a_bad_chat_is_told(chat_server: Server, fields: dict[str, Any], says: str) -> None:
    body = {"messages": messages("Hello"), "max_tokens": 2} | fields
    status, answer = post(chat_server, "chat/completions", json.dumps(body).encode())
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert says in answer["error"]["message"]


def test_a_body_without_its_content_type(server: Server) -> None:
    status, answer = post(server, "completions", b'{"prompt": "x"}', **{"content-type": "a/b"})
    assert status == 400 and "Content-Type: application/json" in answer["error"]["message"]


def test_embeddings_of_a_model_that_makes_none(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="makes no embeddings"):
        server.client().embeddings.create(model="rys", input="x")


def test_a_route_that_is_none(server: Server) -> None:
    assert post(server, "nonsense", b"{}")[0] == 404


def test_a_client_that_goes_away(server: Server) -> None:
    """The job stops: the next request does not wait for the rest of the stream."""
    with server.client() as client:
        chunks = client.completions.create(
            model="rys", prompt="Once", max_tokens=200, stream=True, temperature=0
        )
        next(iter(chunks))
        chunks.close()
    assert is_alive(server)


def test_a_key(server: Server) -> None:
    with running_server(STORIES, *OPTIONS, "--api-key", "secret") as locked:
        body = b'{"prompt": "Once", "max_tokens": 1}'
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            status, answer = post(locked, "completions", body, **headers)
            assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
        assert post(locked, "completions", body, Authorization="Bearer secret")[0] == 200
        with urllib.request.urlopen(locked.url.removesuffix("/v1") + "/health") as response:
            assert response.status == 200


def test_a_worker_that_dies_fails_one_request(server: Server) -> None:
    assert is_alive(server)
    (worker,) = children(server.process.pid)
    stream = server.client().completions.create(
        model="rys", prompt="Once", max_tokens=200, stream=True, temperature=0
    )
    next(iter(stream))
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(openai.APIError, match=r"SIGKILL.*loaded again"):
        for _ in stream:
            pass
    assert is_alive(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_under_way_finishes(number: int) -> None:
    with running_server(STORIES, *OPTIONS) as running:
        stream = running.client().completions.create(
            model=NAMES[0], prompt="Once", max_tokens=150, stream=True, temperature=0
        )
        chunks = iter(stream)
        next(chunks)
        running.process.send_signal(number)
        assert sum(1 for _ in chunks) >= 100
        assert running.process.wait(30) == 0


@pytest.mark.parametrize("is_busy", [False, True])
@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    ],
)
def test_several_signals_end_it_without_a_traceback(
    numbers: tuple[signal.Signals, ...], is_busy: bool
) -> None:
    with running_server(STORIES, *OPTIONS) as running, ThreadPoolExecutor(1) as pool:
        if is_busy:
            ask = running.client().completions.create
            answer = pool.submit(ask, model=NAMES[0], prompt="Once", max_tokens=200)
            time.sleep(0.3)
        for number in numbers:
            running.process.send_signal(number)
            time.sleep(0.1)
        assert running.process.wait(60) == 0
        assert running.process.stderr is not None
        told = running.process.stderr.read()
        if is_busy:
            answer.exception(60)
    assert told.splitlines()[-1] == "stopped"
    assert "Traceback" not in told and "Error" not in told, told


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--model", "0..4"), 2, "expected NAME=LAYERS"),
        (("--model", "=0..4"), 2, "expected NAME=LAYERS"),
        (("--model", "a=0..4", "--model", "a=0..3"), 2, "the name a is given twice"),
        (("--model", "stories260K=0..4"), 2, "is given twice"),
        (("--model", "a=0..9"), 2, "there is no block"),
        (("--quiet", "--chat-format", "nonsense"), 2, "no chat format has this name: nonsense"),
    ],
)
def test_bad_options(surgeon: Run, options: tuple[str, ...], code: int, says: str) -> None:
    assert_told(surgeon("serve", STORIES, *options), code, says)


def test_a_port_in_use(surgeon: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert_told(surgeon("serve", STORIES, "--port", port), 2, "in use")


def test_an_extra_that_is_missing(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['fastapi'] = None\n"
        f"sys.argv = ['ggufsurgeon', 'serve', {str(STORIES)!r}]\n"
        "from ggufsurgeon.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert_told(done, 8, "packages that are not installed")
    assert "ggufsurgeon[serve]" in done.stderr


def test_a_host_that_others_reach_is_warned_of(surgeon: Run) -> None:
    """192.0.2.1 is no address of any machine (RFC 5737): it is not listened on either."""
    done = surgeon("serve", STORIES, "--host", "192.0.2.1")
    assert "warning: 192.0.2.1 can be reached from other machines" in done.stderr
    with_key = surgeon("serve", STORIES, "--host", "192.0.2.1", "--api-key", "x")
    assert_told(with_key, 2, "cannot listen on 192.0.2.1:8080")
