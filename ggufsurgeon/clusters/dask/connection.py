"""A client of a Dask scheduler, or an error that says why there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ggufsurgeon.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 10.0
"""Seconds in which a scheduler must answer."""
CLOSE_S = 5.0
"""Seconds that taking leave of a scheduler may take."""
LOGGERS = ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio")
"""What would print on standard error what errors of ours say (distributed/config.py)."""
_START = "Start one with: dask scheduler"


def check_package() -> None:
    """Raise MissingExtraError without the package `distributed`."""
    try:
        import_module("distributed")
    except ImportError as error:
        raise MissingExtraError(
            f"a Dask cluster needs the package distributed, which cannot be imported: {error}",
            hint="pip install 'ggufsurgeon[dask]'",
        ) from error


@asynccontextmanager
async def connected(scheduler: str) -> AsyncIterator[Client]:
    """A client of the scheduler at an address such as tcp://host:8786.

    Raises UsageError where no scheduler answers, or one of another version.
    """
    from distributed import Client

    try:
        found = await asyncio.wait_for(_versions(scheduler), 2 * CONNECT_S)
    except Exception as error:
        raise _unreachable(scheduler, error) from None
    _check_version(scheduler, found)
    client = Client(scheduler, asynchronous=True, timeout=CONNECT_S, set_as_default=False)
    try:
        try:
            await asyncio.wait_for(client, 2 * CONNECT_S)
        except Exception as error:
            raise _unreachable(scheduler, error) from None
        yield client
    finally:
        with suppress(Exception):
            await asyncio.wait_for(client._close(fast=True), CLOSE_S)


async def _versions(scheduler: str) -> Any:
    """What a scheduler says of itself: also to clients of other versions, which it cannot have."""
    from distributed import Security, rpc

    arguments = Security().get_connection_args("client")
    async with rpc(scheduler, timeout=CONNECT_S, connection_args=arguments) as asked:
        return await asked.versions()


@contextmanager
def silent_logs() -> Iterator[None]:
    """Let Dask print nothing: what it has to say of connections becomes errors of ours."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _unreachable(scheduler: str, error: Exception) -> UsageError:
    if isinstance(error, ValueError):
        return UsageError(
            f"{scheduler!r} is not the address of a Dask scheduler: {error}",
            hint="Example of an address: tcp://host:8786.",
        )
    told = str(error) or f"no answer in Dask's protocol within {2 * CONNECT_S:.0f} s"
    return UsageError(f"no Dask scheduler answers at {scheduler}: {told}", hint=_START)


def _check_version(scheduler: str, found: Any) -> None:
    """Raise UsageError for another release: Dask's protocol is that of one release alone."""
    from distributed import __version__

    theirs = found.get("packages", {}).get("distributed")
    if theirs != __version__:
        raise UsageError(
            f"the Dask scheduler at {scheduler} has distributed {theirs}, and this program "
            f"{__version__}: they may be incompatible",
            hint=f"Install the same on every machine: pip install distributed=={__version__}.",
        )
