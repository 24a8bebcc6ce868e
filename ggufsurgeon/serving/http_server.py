"""Running the app: the port, and the end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from ggufsurgeon.errors import UsageError
from ggufsurgeon.serving.service import Service

GRACE_SECONDS = 30
"""How long requests under way may go on after the first signal to stop."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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


class _Server(uvicorn.Server):
    """A server that only `stopped_by_signals` stops.

    uvicorn's own handlers raise their signals again in the event loop, where the exception of a
    command's handler is logged as a bug (uvicorn 0.54, `Server.capture_signals`).
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the connections: when requests have been answered, or a second signal comes."""
        ending = asyncio.ensure_future(self._end_when_forced())
        await super().shutdown(sockets)
        ending.cancel()
        if self.force_exit:
            self._end_requests()

    async def _end_when_forced(self) -> None:
        """From Python 3.12 on, uvicorn waits for connections even then (`Server.wait_closed`)."""
        while not self.force_exit:
            await asyncio.sleep(0.1)
        self._end_requests()

    def _end_requests(self) -> None:
        for task in tuple(self.server_state.tasks):
            task.cancel()
        self._service.close()  # the worker goes on with its job otherwise

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `stopped_by_signals`."""
        yield

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Signals stop the server within the block, those ignored before excepted.

        Behind it, all of them are ignored if one has stopped it: nothing is left to stop.
        """
        before = {n: signal.getsignal(n) for n in _SIGNALS}
        taken = {n: handler for n, handler in before.items() if handler != signal.SIG_IGN}
        for number in taken:
            signal.signal(number, self._stop)
        try:
            yield
        finally:
            for number, handler in taken.items():
                signal.signal(number, signal.SIG_IGN if self.should_exit else handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Whether a record of uvicorn is not of a request that was ended by a second signal."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return not isinstance(error, asyncio.CancelledError)


def run(service: Service, listener: socket.socket, api_key: str | None) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; then requests under way have 30 s to finish.

    A second signal ends them at once.
    """
    try:
        # It loads the library of llama.cpp: behind `Service.start`, which has shown that it loads.
        from ggufsurgeon.serving.app import make_app

        config = uvicorn.Config(
            make_app(service, api_key),
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
        server = _Server(config, service)
        with server.stopped_by_signals():
            server.run(sockets=[listener])
    finally:
        service.close()
