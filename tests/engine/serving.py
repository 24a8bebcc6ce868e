"""RPC servers for tests, real ones and such as answer amiss."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30


def has_rpc() -> bool:
    """Whether the llama.cpp at hand was built with its RPC backend."""
    from ggufsurgeon.engine.library import ggml

    return hasattr(ggml(), "ggml_backend_rpc_start_server")


@contextmanager
def rpc_server(*options: str) -> Iterator[str]:
    """A server in a process of its own that listens, as HOST:PORT; killed in the end."""
    if not has_rpc():
        pytest.skip("llama-cpp-python has no RPC backend: scripts/setup builds it with one")
    port = free_port()
    command = [sys.executable, "-m", "tests.engine.rpc_server", str(port), *options]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    with process:
        try:
            _wait_until_it_listens(process, port)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"no RPC server on port {port} after {START_SECONDS} seconds")


@contextmanager
def fake_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats each client as `answer` does, then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            try:
                answer(client)
            except OSError:
                continue
