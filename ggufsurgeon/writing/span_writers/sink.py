"""What takes the bytes of a plan, from front to back."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """A receiver of bytes that are at hand, of zeros, and of parts of files."""

    def write(self, data: bytes | memoryview) -> None:
        """Take all of `data`."""

    def write_zeros(self, n_bytes: int) -> None:
        """Take so many zeros."""

    def copy(self, source: int, offset_in_file: int, n_bytes: int) -> None:
        """Take bytes of an open file. Raises OSError when it ends before them."""
