"""Runners of jobs: this process, or a worker process, which llama.cpp may abort without harm.

A job is a function of a module, `job(session, *arguments, reporter)`: it asks the session for
its models, so that several jobs share them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.workers.session import Session

T = TypeVar("T")


class Runner(Protocol):
    """Runs one job after the other over models that stay loaded."""

    def run(
        self,
        job: Callable[..., T],
        *arguments: Any,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[Any], object] | None = None,
    ) -> T:
        """Run `job(session, *arguments, reporter)` and return what it returns.

        `on_result` is called with each result that the job emits.
        """


class InProcess:
    """Runs jobs in this process.

    An abort of llama.cpp ends the process, and a frozen RPC server blocks it without a limit.
    """

    is_lost = False
    """Its models are gone when it is itself."""

    def __init__(self) -> None:
        self.session = Session()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.__exit__()

    def run(
        self,
        job: Callable[..., T],
        *arguments: Any,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[Any], object] | None = None,
    ) -> T:
        """Run a job here. Raises what the job raises, and UsageError after the `with` block."""
        return job(self.session, *arguments, _LocalReporter(progress, on_result))


class _LocalReporter:
    def __init__(self, progress: Progress, on_result: Callable[[Any], object] | None) -> None:
        self._on_result = on_result
        self.begin, self.advance = progress.begin, progress.advance

    def emit(self, result: Any) -> None:
        if self._on_result is not None:
            self._on_result(result)
