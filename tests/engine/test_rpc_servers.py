"""Servers that are none, or fail: one message each, and never a hang."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ggufsurgeon.engine.devices import rpc_handshake
from ggufsurgeon.engine.devices.rpc_handshake import check_rpc_server
from ggufsurgeon.errors import UsageError
from tests.conftest import ROOT, Run
from tests.engine.serving import Relay, fake_server, free_port, has_rpc, rpc_server

pytestmark = pytest.mark.slow

TEXT = ROOT / "ggufsurgeon/verification/texts/shakespeare.txt"
Answer = Callable[[socket.socket], None]
HELLO_ANSWER = struct.pack("<QBBBB", 28, 7, 0, 0, 0) + bytes(24)
"""As llama.cpp's RPC protocol 7 has it."""


def stay_silent(client: socket.socket) -> None:
    time.sleep(30)


def hang_up(client: socket.socket) -> None:
    client.recv(64)


def speak_http(client: socket.socket) -> None:
    client.recv(1024)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def babble(client: socket.socket) -> None:
    client.sendall(bytes(range(256)) * 100)
    client.recv(1024)


def greet_then(rest: Answer) -> Answer:
    def answer(client: socket.socket) -> None:
        received = 0
        while received < 33:
            received += len(client.recv(33 - received))
        client.sendall(HELLO_ANSWER)
        rest(client)

    return answer


NOT_RPC = "does not speak llama.cpp's RPC protocol"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (stay_silent, "no answer within"),
        (hang_up, NOT_RPC),
        (speak_http, NOT_RPC),
        (babble, NOT_RPC),
    ],
)
def test_what_answers_is_no_rpc_server(
    answer: Answer, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_handshake, "ANSWER_SECONDS", 0.5)
    with fake_server(answer) as host, pytest.raises(UsageError, match=says) as caught:
        check_rpc_server(host)
    assert host in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("127.0.0.1", "expected HOST:PORT"),
        ("127.0.0.1:", "expected HOST:PORT"),
        (":50052", "expected HOST:PORT"),
        ("", "expected HOST:PORT"),
        ("::1:50052", "expected HOST:PORT"),
        ("127.0.0.1:99999", "expected HOST:PORT"),
        ("127.0.0.1:5oo52", "expected HOST:PORT"),
        ("no-such-host.invalid:50052", "RPC server no-such-host.invalid:50052: "),
        (f"{'a' * 70}.example:1", "RPC server aaa"),
    ],
)
def test_a_name_that_is_no_server(host: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_rpc_server(host)


def run(surgeon: Run, model: Path, hosts: str) -> subprocess.CompletedProcess[str]:
    if not has_rpc():
        pytest.skip("llama-cpp-python has no RPC backend: scripts/setup builds it with one")
    arguments = ["--text", TEXT, "--chunks", "1", "--ctx", "64", "--quiet", "--rpc", hosts]
    return surgeon("perplexity", model, *arguments, timeout=60)


def assert_one_message(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("error:") == 1
    assert len(done.stderr.splitlines()) == 2  # the error, and what to do


def test_a_server_named_twice(stories: Path, surgeon: Run) -> None:
    done = run(surgeon, stories, "127.0.0.1:5,127.0.0.1:5")
    assert done.returncode == 2
    assert "each named once" in done.stderr


def test_two_loads_in_a_process_share_a_device() -> None:
    program = (
        "import sys; from ggufsurgeon.engine.devices.registry import add_rpc_servers, list_devices;"
        "add_rpc_servers(sys.argv[1:]); add_rpc_servers(sys.argv[1:]);"
        "print([device.kind for device in list_devices()])"
    )
    with rpc_server() as host:
        done = subprocess.run(
            [sys.executable, "-c", program, host], cwd=ROOT, capture_output=True, timeout=60
        )
    assert done.stdout == b"['CPU', 'GPU']\n", done.stderr


def test_nobody_listens(stories: Path, surgeon: Run) -> None:
    host = f"127.0.0.1:{free_port()}"
    assert_one_message(run(surgeon, stories, host), f"RPC server {host}: Connection refused")


def test_the_second_of_two_is_named(stories: Path, surgeon: Run) -> None:
    host = f"127.0.0.1:{free_port()}"
    with rpc_server() as good:
        assert_one_message(run(surgeon, stories, f"{good},{host}"), f"RPC server {host}: ")


@pytest.mark.parametrize(
    ("rest", "says"),
    [(stay_silent, "it stopped answering"), (hang_up, "RPC server"), (babble, "RPC server")],
)
def test_a_server_that_fails_behind_its_greeting(
    rest: Answer, says: str, stories: Path, surgeon: Run
) -> None:
    """llama.cpp waits for ever for the first, and aborts the process on the others."""
    with fake_server(greet_then(rest)) as host:
        assert_one_message(run(surgeon, stories, host), says)


def test_a_server_that_is_lost_while_it_works(smollm2: Path, surgeon: Run) -> None:
    with rpc_server() as host:
        relay = Relay(host, n_bytes=1_000_000)
        with fake_server(relay) as cut:
            assert_one_message(run(surgeon, smollm2, cut), "RPC server")


def test_a_wheel_without_rpc(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    """The library of such a wheel lacks the function; here it is hidden."""
    (tmp_path / "sitecustomize.py").write_text(
        "from ggufsurgeon.engine.installation import library\nlibrary.ggml = lambda: object()\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    arguments = ["--text", TEXT, "--rpc", "127.0.0.1:50052"]
    done = surgeon("perplexity", stories, *arguments, env=environment)
    assert done.returncode == 8
    assert "CMAKE_ARGS=-DGGML_RPC=ON pip install" in done.stderr
