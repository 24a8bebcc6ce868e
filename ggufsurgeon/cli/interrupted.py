"""What a signal raises."""

from __future__ import annotations


class Interrupted(BaseException):
    """SIGINT or SIGTERM. Not KeyboardInterrupt, which the command-line library takes for itself."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = ""
        """What the files look like now, where that is in doubt."""
