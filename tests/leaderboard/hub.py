"""A Hugging Face Hub on loopback that gives out nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def hub_that_answers(status: int, error_code: str) -> Iterator[str]:
    """The URL of a server whose every answer is this status, with the hub's name of an error.

    The hub says in the header X-Error-Code what is amiss (huggingface_hub/utils/_http.py).
    """

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", error_code)
            self.send_header("X-Error-Message", f"the hub says {error_code}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET
        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
