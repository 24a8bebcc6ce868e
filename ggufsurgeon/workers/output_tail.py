"""The last bytes that a process has printed."""

from __future__ import annotations

import os
import threading
from typing import IO

TAIL_N_BYTES = 8192
"""How much is kept."""
END_SECONDS = 1.0
"""How long the end of the output is waited for, once its process has ended."""


class OutputTail:
    """Reads a stream to its end in a thread, and keeps the last bytes alone."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = b""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """Drop what was read."""
        with self._lock:
            self._kept = b""

    def text(self) -> str:
        """What was printed last, to the end of the stream if it ends within a second."""
        self._thread.join(END_SECONDS)
        with self._lock:
            return self._kept.decode("utf-8", "replace").strip()

    def _read(self) -> None:
        while part := os.read(self._stream.fileno(), 65536):
            with self._lock:
                self._kept = (self._kept + part)[-TAIL_N_BYTES:]
        self._stream.close()
