"""A reading position in the bytes of a header, which cannot pass their end.

Headers of hundreds of thousands of entries are read in pieces of a few bytes. So bytes come from a
window over the data, and the text of an error is made only when there is one.
"""

from __future__ import annotations

import struct

from ggufsurgeon.container.file_bytes import Buffer
from ggufsurgeon.container.headers.values import ByteOrder
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import MalformedFileError

INCOMPLETE = "The download may be incomplete: compare the file's size with the original's."
WINDOW_N_BYTES = 1 << 16
"""Bytes that are taken from the data at once."""


class Cursor:
    """A position in `data`, from its start on. Errors name `path`, and the offset of what is wrong.

    In messages, `what` describes what is read, and `of` names the entry that it belongs to.
    """

    def __init__(self, data: Buffer, path: str, byte_order: ByteOrder = "<") -> None:
        self.data = data
        self.n_bytes = len(data)
        self.path = path
        self.at = 0
        self.byte_order: ByteOrder = byte_order
        self._window = b""
        self._window_at = 0

    def fail(self, problem: str, offset: int, hint: str = "") -> MalformedFileError:
        """The error for a problem at an offset."""
        return MalformedFileError(self.path, problem, offset=offset, hint=hint)

    def expect_room(self, count: int, width: int, what: str, of: str | None = None) -> None:
        """Raise MalformedFileError unless `count` items of `width` bytes fit before the end."""
        n_left = self.n_bytes - self.at
        if count * width > n_left:
            described = what if of is None else f"{what} of {quoted(of)}"
            problem = (
                f"expected {count} {described}, found the end of the file after {n_left} bytes"
            )
            raise self.fail(problem, self.at, hint=INCOMPLETE)

    def skip(self, n_bytes: int, what: str, of: str | None = None) -> int:
        """Skip some bytes and return the offset at which they start."""
        start = self.at
        if n_bytes > self.n_bytes - start:
            self.expect_room(n_bytes, 1, f"bytes of {what}", of)
        self.at = start + n_bytes
        return start

    def take(self, n_bytes: int, what: str, of: str | None = None) -> bytes:
        """Read some bytes."""
        return self.between(self.skip(n_bytes, what, of), n_bytes)

    def between(self, start: int, n_bytes: int) -> bytes:
        """Bytes from an offset on, which must be in the data."""
        low = start - self._window_at
        if low < 0 or low + n_bytes > len(self._window):
            if n_bytes > WINDOW_N_BYTES:
                return bytes(self.data[start : start + n_bytes])
            self._window, self._window_at = self.data[start : start + WINDOW_N_BYTES], start
            low = 0
        return self._window[low : low + n_bytes]

    def integer(self, n_bytes: int, what: str, of: str | None = None) -> int:
        """Read an unsigned number."""
        low = self.at - self._window_at
        raw = self._window[low : low + n_bytes] if low >= 0 else b""
        if len(raw) == n_bytes:  # the usual case, in few steps: there are millions of numbers
            self.at += n_bytes
        else:
            raw = self.take(n_bytes, what, of)
        return int.from_bytes(raw, "little" if self.byte_order == "<" else "big")

    def numbers(self, layout: str, what: str, of: str | None = None) -> tuple[int, ...]:
        """Read several unsigned numbers at once; `layout` is that of `struct` (`2QI`)."""
        form = f"{self.byte_order}{layout}"
        return struct.unpack(form, self.take(struct.calcsize(form), what, of))
