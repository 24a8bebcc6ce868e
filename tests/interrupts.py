"""Ctrl-C in tests of processes, however the tests themselves were started."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """Heed SIGINT, which a shell has the jobs that it runs in the background ignore.

    It is a `preexec_fn`: the program keeps ignoring what it was started to ignore.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
