"""Messages between a worker process and its parent, over a pipe.

A message is a pickle behind its length, 8 bytes little-endian. The length lets one thread read
whole messages without running what unpickling runs: a job that cannot be imported is then an
error of that job, and the stream stays readable.
"""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any

_LENGTH = struct.Struct("<Q")
STOP = _LENGTH.pack(0)
"""A message of no bytes: the request to stop the running job, and the answer once it has ended."""


def encode(message: Any) -> bytes:
    """The bytes of a message; raises what pickle raises for a value it cannot write."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def read_message(stream: IO[bytes]) -> bytes:
    """The pickle of the next message, empty for STOP. Raises EOFError when the stream ends."""
    length = _read(stream, _LENGTH.size)
    return _read(stream, _LENGTH.unpack(length)[0])


def _read(stream: IO[bytes], n_bytes: int) -> bytes:
    content = stream.read(n_bytes)
    if len(content) < n_bytes:
        raise EOFError
    return content
