"""The program `ggufsurgeon`, and `python -m ggufsurgeon`."""

from __future__ import annotations

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run a command; while its modules are imported, Ctrl-C ends the process without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ggufsurgeon.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
