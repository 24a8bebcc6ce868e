"""A Hugging Face Hub on loopback, which gives out datasets or refuses to.

Its routes are those that huggingface_hub and `datasets` ask for (huggingface_hub/hf_api.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ggufsurgeon.leaderboard.harness.benchmarks import BENCHMARKS

COMMIT = "a" * 40


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes = b""


class Handler(BaseHTTPRequestHandler):
    """Answers what its class says."""

    asked: list[str]

    def reply(self) -> Reply:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        reply = self.reply()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_HEAD = do_GET
    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Hub(NamedTuple):
    url: str
    asked: list[str]
    """The requests it was sent, such as `GET /api/datasets/...`."""


@contextmanager
def hub_that_answers(status: int, error_code: str) -> Iterator[Hub]:
    """A hub whose every answer is this status, with the hub's name of an error.

    The hub says in the header X-Error-Code what is amiss (huggingface_hub/utils/_http.py).
    """

    class Refusing(Handler):
        def reply(self) -> Reply:
            return refusal(status, error_code)

    with served(Refusing) as hub:
        yield hub


@contextmanager
def hub_with(mirror: Path) -> Iterator[Hub]:
    """A hub that gives out the datasets of a mirror."""
    folders = {benchmark.hub_id: mirror / benchmark.folder for benchmark in BENCHMARKS}

    class Giving(Handler):
        def reply(self) -> Reply:
            path = unquote(urlsplit(self.path).path)
            for name, folder in folders.items():
                if path.startswith(f"/api/datasets/{name}/"):
                    return told(name, folder, lists_files="/tree/" in path)
                if path.startswith(f"/datasets/{name}/resolve/"):
                    return given(folder / path.rsplit("/", 1)[1])
            return refusal(404, "RepoNotFound")

    with served(Giving) as hub:
        yield hub


def refusal(status: int, error_code: str) -> Reply:
    return Reply(status, {"X-Error-Code": error_code, "X-Error-Message": f"it is {error_code}"})


def told(name: str, folder: Path, *, lists_files: bool) -> Reply:
    """What the hub tells of a dataset, or of its files."""
    files = [
        {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": digest_of(file)}
        for file in sorted(folder.iterdir())
    ]
    siblings = [{"rfilename": file["path"]} for file in files]
    about = {"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
    body = json.dumps(files if lists_files else about).encode()
    return Reply(200, {"Content-Type": "application/json"}, body)


def given(file: Path) -> Reply:
    if not file.exists():
        return refusal(404, "EntryNotFound")
    headers = {"ETag": f'"{digest_of(file)}"', "X-Repo-Commit": COMMIT}
    return Reply(200, headers, file.read_bytes())


def digest_of(file: Path) -> str:
    return sha1(file.read_bytes()).hexdigest()


@contextmanager
def served(handler: type[Handler]) -> Iterator[Hub]:
    handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Hub(f"http://127.0.0.1:{server.server_address[1]}", handler.asked)
        finally:
            server.shutdown()
            thread.join()
