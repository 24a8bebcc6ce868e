"""Where a scan or a search runs: in one process, in several on this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Optional, TypeAlias

import typer

from ggufsurgeon.cli.shared_options.options import DEVICES
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ggufsurgeon.engine.devices.options import Devices

MOST_WORKERS = 256

Scheduler: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Address of a Dask scheduler, such as tcp://host:8786, whose workers run the scan; "
        "each needs the same model, at the same path or in a folder of GGUFSURGEON_MODELS.",
        rich_help_panel=DEVICES,
        show_default="this machine",
    ),
]
Workers: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        max=MOST_WORKERS,
        help="Number of processes on this machine that share the work. Each loads the model and "
        "has an equal share of the threads.",
        rich_help_panel=DEVICES,
        show_default="1",
    ),
]


def share_of(devices: Devices, workers: int | None) -> Devices:
    """The devices of one of several processes, which has an equal share of the CPU threads."""
    from ggufsurgeon.engine.limits.threads import n_threads_of

    if workers is None:
        return devices
    return replace(devices, n_threads=max(1, n_threads_of(devices) // workers))


@contextmanager
def local_pool(workers: int | None, scheduler: str | None) -> Iterator[Executor | None]:
    """The executor of so many processes on this machine; None without the option.

    Each of its threads waits for a process of its own. Raises UsageError where a cluster is asked
    for as well.
    """
    if workers is None:
        yield None
        return
    if scheduler is not None:
        raise UsageError("--workers are on this machine: --scheduler excludes it")
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers) as executor:
        yield executor
