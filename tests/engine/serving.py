"""RPC servers for tests, real ones and such as answer amiss."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30


def has_rpc() -> bool:
    """Whether the llama.cpp at hand was built with its RPC backend."""
    from ggufsurgeon.engine.installation.library import ggml

    return hasattr(ggml(), "ggml_backend_rpc_start_server")


@contextmanager
def rpc_server(*options: str) -> Iterator[str]:
    """A server in a process of its own that listens, as HOST:PORT; killed in the end."""
    with rpc_server_process(*options) as (host, _process):
        yield host


@contextmanager
def rpc_server_process(*options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server as HOST:PORT, and its process."""
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
            yield f"127.0.0.1:{port}", process
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


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


class Relay:
    """Passes on what a client and a server say; after so many bytes it hangs up, or stalls."""

    def __init__(self, host: str, n_bytes: int, *, stalls: bool = False) -> None:
        name, port = host.split(":")
        self._address = (name, int(port))
        self._left = n_bytes
        self._stalls = stalls

    def __call__(self, client: socket.socket) -> None:
        with socket.create_connection(self._address) as server:
            back = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            back.start()
            self._pass_on(client, server)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # the other direction may have ended both
            while self._left > 0 and (part := source.recv(65536)):
                self._left -= len(part)
                target.sendall(part)
            while self._left <= 0 and self._stalls:
                time.sleep(1)
            target.shutdown(socket.SHUT_WR)
