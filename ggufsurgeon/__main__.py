"""The program `ggufsurgeon`, and `python -m ggufsurgeon`."""

from __future__ import annotations

import gc
import signal
from typing import NoReturn

N_ALLOCATED = 50_000
"""Objects after which Python looks for cycles. There are hardly any here, and by default (700) the
search takes a fifth of the time of a file with hundreds of thousands of entries."""


def main() -> NoReturn:
    """Run a command; while its modules are imported, Ctrl-C ends the process without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(N_ALLOCATED)
    from ggufsurgeon.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
