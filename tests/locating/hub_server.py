"""A Hugging Face Hub on loopback, with files to give out and faults to have.

Its routes and headers are those that huggingface_hub asks for (file_download.py, hf_api.py,
utils/_http.py).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

REPO = "maker/model-GGUF"
COMMIT = "c0ffee" * 6 + "c0ff"
PIECE_N_BYTES = 1 << 16


@dataclass
class Faults:
    """What a server does otherwise than it should."""

    status: int = 0
    """The status of each answer, with `error_code` as the hub's name of it."""
    error_code: str = ""
    status_of_ranges: int = 0
    ignores_ranges: bool = False
    cut_after: int = 0
    """Bytes behind which connections break that begin with the first byte of the file."""
    stalls_after: int = 0
    """Bytes of the file behind which nothing comes."""
    is_mute: bool = False
    """Whether it takes requests, and does not answer."""
    token: str = ""
    """The token that is asked for."""
    elsewhere: str = ""
    """Another server, to which requests for files are redirected."""
    no_commit: bool = False


class Asked(dict[str, str]):
    """A request: `method`, `path`, `range` and `token`."""


@dataclass
class Hub:
    """A server that runs, and what it was asked."""

    url: str
    faults: Faults
    asked: list[Asked] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    """Bytes of the file that were written to each connection."""

    def methods(self) -> list[str]:
        return [request["method"] for request in self.asked]


@contextmanager
def hub_with(files: Mapping[str, Path], faults: Faults | None = None) -> Iterator[Hub]:
    """A hub that has one repository with these files, on its main branch."""
    hub = Hub("", faults or Faults())

    class Handler(_Handler):
        pass

    Handler.hub, Handler.files = hub, files
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    files: Mapping[str, Path]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if REPO not in path and "/nothing" not in path:  # huggingface_hub asks for its own list
            self._refuse(404, "")
            return
        given = {"range": self.headers.get("Range", ""), "path": path, "method": self.command}
        token = self.headers.get("Authorization", "")
        self.hub.asked.append(Asked(token=token, **given))
        faults = self.hub.faults
        if faults.is_mute:
            time.sleep(30)
        if faults.status:
            self._refuse(faults.status, faults.error_code)
        elif faults.token and token != f"Bearer {faults.token}":
            self._refuse(401, "GatedRepo")
        else:
            self._route(path)

    do_HEAD = do_GET

    def _route(self, path: str) -> None:
        if re.fullmatch(rf"/api/models/{REPO}(/revision/(main|{COMMIT}))?", path):
            self._tell()
        elif match := re.fullmatch(rf"/{REPO}/resolve/([^/]+)/(.+)", path):
            revision, file = match.groups()
            if revision not in ("main", COMMIT):
                self._refuse(404, "RevisionNotFound")
            elif file not in self.files:
                self._refuse(404, "EntryNotFound")
            elif self.hub.faults.elsewhere:
                self._redirect(self.files[file], f"{self.hub.faults.elsewhere}{path}")
            else:
                self._give(self.files[file])
        else:
            self._refuse(404 if path.startswith("/api") else 401, "RepoNotFound")

    def _refuse(self, status: int, error_code: str) -> None:
        self.send_response(status)
        if error_code:
            self.send_header("X-Error-Code", error_code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _tell(self) -> None:
        siblings = [{"rfilename": name} for name in self.files]
        body = json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self, file: Path, url: str) -> None:
        self.send_response(302)
        self._send_facts(file)
        self.send_header("Location", url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_facts(self, file: Path) -> None:
        if not self.hub.faults.no_commit:
            self.send_header("X-Repo-Commit", COMMIT)
        digest = hashlib.sha256(f"{file.name} {file.stat().st_size}".encode()).hexdigest()
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Linked-ETag", f'"{digest}"')
        self.send_header("X-Linked-Size", str(file.stat().st_size))

    def _give(self, file: Path) -> None:
        faults, size = self.hub.faults, file.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and faults.status_of_ranges:
            self._refuse(faults.status_of_ranges, "")
            return
        start, end = 0, size
        if asked and not faults.ignores_ranges:
            start, end = int(asked[1]), min(int(asked[2] or size - 1) + 1, size)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        else:
            self.send_response(200)
        self._send_facts(file)
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "GET":
            self._send(file, start, end)

    def _send(self, file: Path, start: int, end: int) -> None:
        faults = self.hub.faults
        self.hub.sent.append(0)
        number = len(self.hub.sent) - 1
        last = min(faults.cut_after, end) if faults.cut_after and start == 0 else end
        last = min(faults.stalls_after or last, last)
        with file.open("rb") as content:
            content.seek(start)
            while start < last:
                piece = content.read(min(PIECE_N_BYTES, last - start))
                try:
                    self.wfile.write(piece)
                except OSError:  # the client has enough
                    return
                start += len(piece)
                self.hub.sent[number] += len(piece)
        if faults.stalls_after and start < end:
            time.sleep(30)
        self.close_connection = start < end or self.close_connection

    def log_message(self, *_: object) -> None:
        pass
