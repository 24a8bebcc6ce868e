"""Work of several threads, which a signal in the main thread ends soon.

Not an executor of the standard library: where a signal's handler raises while work is handed to
one, its threads can wait for one another for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Thread

WAIT = 0.002
"""Seconds between looks at threads that are ending."""


def run_all(jobs: Sequence[Callable[[], None]], stop: Event) -> None:
    """Run each job in a thread of its own, and raise the first error of them.

    `stop` is set when one fails or this thread is interrupted; the jobs must then end soon. None
    of them runs any more when this returns or raises.
    """
    errors: list[BaseException] = []
    running: set[int] = set()

    def attempt(number: int, job: Callable[[], None]) -> None:
        running.add(number)
        try:
            if not stop.is_set():
                job()
        except BaseException as error:
            errors.append(error)
            stop.set()
        finally:
            running.discard(number)

    threads = [Thread(target=attempt, args=each, daemon=True) for each in enumerate(jobs)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stop.set()
        while running:  # a join that was interrupted takes its thread for ended (bpo-45274)
            time.sleep(WAIT)
    if errors:
        raise errors[0]
