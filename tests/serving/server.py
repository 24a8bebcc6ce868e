"""A real server process, and the answers that a written file gives."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from tests.conftest import ROOT

PATHS = {"rys": "0..3,2..4", "short": "0..1,3..4"}
NAMES = ["stories260K", *PATHS]
CHAT_FORMAT = "chatml"


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    url: str

    def client(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=60)


@contextmanager
def running_server(model: Path, *options: str) -> Iterator[Server]:
    """`ggufsurgeon serve` on a free port, once it listens."""
    command = [sys.executable, "-m", "ggufsurgeon", "serve", str(model), "--port", "0", *options]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield Server(process, _address(process))
    finally:
        process.kill()
        process.communicate()


def model_options(paths: dict[str, str] = PATHS) -> list[str]:
    return [word for name, path in paths.items() for word in ("--model", f"{name}={path}")]


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        found = re.search(r"at (http://\S+/v1);", line)
        if found:
            return found[1]
    raise AssertionError("".join(lines))


def messages(text: Any) -> list[Any]:
    return [{"role": "user", "content": text}]


def answers_of_file(model: Path, texts: Sequence[str], n_tokens: int) -> list[str]:
    """What llama-cpp-python itself answers over a file, a new conversation for each text."""
    from llama_cpp import Llama

    llama = Llama(str(model), n_ctx=512, chat_format=CHAT_FORMAT, verbose=False, n_threads=1)
    try:
        return [
            llama.create_chat_completion(messages(text), temperature=0, max_tokens=n_tokens)[
                "choices"
            ][0]["message"]["content"]
            for text in texts
        ]
    finally:
        llama.close()
