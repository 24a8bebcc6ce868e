"""Running the app: the port, and the end."""

from __future__ import annotations

import socket

import uvicorn

from ggufsurgeon.errors import UsageError
from ggufsurgeon.serving.service import Service

GRACE_SECONDS = 30
"""How long requests under way may go on after the first signal to stop."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens on the address. Raises UsageError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot listen on {host}:{port}: {reason}", hint="Choose another port or host."
        ) from None
    return listener


def run(service: Service, listener: socket.socket, api_key: str | None) -> None:
    """Serve until SIGINT or SIGTERM; then requests under way have 30 s to finish.

    A second signal ends them at once.
    """
    # It loads llama.cpp's library into this process: behind `Service.start`, it has loaded once.
    from ggufsurgeon.serving.app import make_app

    config = uvicorn.Config(
        make_app(service, api_key), log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        service.close()
