"""Names of what a zip archive holds, read from the directory at its end.

A llamafile is a program with a zip archive behind it, in which a GGUF lies uncompressed
(github.com/mozilla-ai/llamafile). Names alone are read here: an archive of any size, or one that
lies about its sizes, costs the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ggufsurgeon.container.file_bytes import Buffer

ENTRY = b"PK\x01\x02"
"""Signature of an entry of the central directory (APPNOTE.TXT 4.3.12)."""
ENTRY_N_BYTES = 46
"""Bytes of an entry before its name."""
DIRECTORY_N_BYTES = 1 << 20
"""Bytes at the end of a file in which the directory is looked for."""
MOST_NAMES = 3


def gguf_names(data: Buffer) -> list[str]:
    """Names of the GGUF files in the archive, at most `MOST_NAMES`."""
    names = (name for name in _names(data) if name.endswith(".gguf"))
    return [name for name, _ in zip(names, range(MOST_NAMES), strict=False)]


def has_directory(data: Buffer) -> bool:
    """Whether there is an entry of a zip archive's directory."""
    return next(_names(data), None) is not None


def has_pickle(data: Buffer) -> bool:
    """Whether the archive is one of `torch.save`, which holds `NAME/data.pkl`."""
    return any(name.endswith("data.pkl") for name in _names(data))


def _names(data: Buffer) -> Iterator[str]:
    end = bytes(data[-DIRECTORY_N_BYTES:])
    at = end.find(ENTRY)
    while at >= 0 and at + ENTRY_N_BYTES <= len(end):
        (n_bytes,) = struct.unpack_from("<H", end, at + 28)
        start = at + ENTRY_N_BYTES
        yield end[start : start + n_bytes].decode("utf-8", "backslashreplace")
        at = end.find(ENTRY, start)
