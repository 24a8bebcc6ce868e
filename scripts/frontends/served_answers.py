"""The answer of a server that runs for one question."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

PATIENCE_SECONDS = 120
LOADING = 503
"""What a server answers that still loads its model."""


def answer_of(command: list[str], route: str, body: dict[str, object]) -> Any:
    """What a server, which is told its port, answers once it has loaded its model."""
    port = _free_port()
    command = [*command, "--port", str(port)]
    url, headers = f"http://127.0.0.1:{port}{route}", {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            return _ask(request, server)
        finally:
            server.terminate()


def _ask(request: urllib.request.Request, server: subprocess.Popen[bytes]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return json.load(answer)
        except OSError as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code != LOADING
            if refused or server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
