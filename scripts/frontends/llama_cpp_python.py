"""Greedy text from llama-cpp-python's own server: MODEL PROMPT N_TOKENS."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version

import llama_cpp.server.app  # noqa: F401 - a frontend that is absent is skipped

PATIENCE_SECONDS = 120


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ask(url: str, body: dict[str, object], server: subprocess.Popen[bytes]) -> dict[str, object]:
    """The answer of a server that may still be loading its model."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return dict(json.load(answer))
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


model, prompt, n_tokens = sys.argv[1:]
port = free_port()
command = [sys.executable, "-m", "llama_cpp.server", "--model", model, "--port", str(port)]
options = ["--n_ctx", "256", "--n_threads", "1", "--n_threads_batch", "1", "--verbose", "false"]
with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as server:
    try:
        # The server penalizes repetition unless it is told not to.
        greedy = {"temperature": 0, "repeat_penalty": 1.0}
        body = {"prompt": prompt, "max_tokens": int(n_tokens), **greedy}
        found = ask(f"http://127.0.0.1:{port}/v1/completions", body, server)
    finally:
        server.terminate()
text = found["choices"][0]["text"]  # type: ignore[index]
print("RESULT", json.dumps({"version": version("llama-cpp-python"), "text": text}))
