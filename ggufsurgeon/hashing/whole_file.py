"""SHA-256 of a whole file, and in the same pass of each tensor in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from hashlib import _Hash

AT_ONCE_N_BYTES = 4 << 20


@dataclass(frozen=True)
class FileHashes:
    """SHA-256, in hexadecimal, of a file and of the data of each tensor, without padding."""

    sha256: str
    tensors: tuple[str, ...]
    """In the order of the tensor infos."""


def content_sha256(path: Path, progress: Progress = NO_PROGRESS) -> str:
    """SHA-256 of a whole file; `progress` counts bytes.

    Raises UsageError when it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            progress.begin(f"SHA-256 of {path.name}", os.fstat(file.fileno()).st_size, "bytes")
            while piece := file.read(AT_ONCE_N_BYTES):
                digest.update(piece)
                progress.advance(len(piece))
    except OSError as error:
        raise unreadable(path, error) from None
    return digest.hexdigest()


def hash_file(file: GgufFile, progress: Progress = NO_PROGRESS) -> FileHashes:
    """SHA-256 of the file and of each tensor: the file is read once, two threads hash it.

    Raises UsageError when it cannot be read, or ends before its header says.
    """
    whole = hashlib.sha256()
    tensors = [hashlib.sha256() for _ in file.header.tensors]
    progress.begin(f"SHA-256 of {file.path.name}", file.layout.n_bytes, "bytes")
    try:
        with file.path.open("rb", buffering=0) as data, ThreadPoolExecutor(1) as second:
            for index, start, n_bytes in _regions(file):
                digests = (whole,) if index is None else (whole, tensors[index])
                _hash_region(data.fileno(), (start, n_bytes), digests, second, progress)
    except OSError as error:
        raise unreadable(file.path, error) from None
    return FileHashes(whole.hexdigest(), tuple(digest.hexdigest() for digest in tensors))


def _regions(file: GgufFile) -> Iterator[tuple[int | None, int, int]]:
    """Tensors, by index, and what lies between them: start and size, over the whole file."""
    at = 0
    for index, n_bytes in enumerate(file.layout.tensor_n_bytes):
        start = file.offset_in_file(index)
        yield None, at, start - at
        yield index, start, n_bytes
        at = start + n_bytes
    yield None, at, file.layout.n_bytes - at


def _hash_region(
    descriptor: int,
    region: tuple[int, int],
    digests: tuple[_Hash, ...],
    second: ThreadPoolExecutor,
    progress: Progress,
) -> None:
    """Add a region to the first digest, and to another one, if any, in a second thread."""
    for piece in read_region(descriptor, *region):
        others = [second.submit(digest.update, piece) for digest in digests[1:]]
        digests[0].update(piece)
        for other in others:
            other.result()
        progress.advance(len(piece))


def read_region(descriptor: int, start: int, n_bytes: int) -> Iterator[bytes]:
    """The bytes of a region, piece by piece. Raises OSError when the file ends before it does."""
    end = start + n_bytes
    while start < end:
        piece = os.pread(descriptor, min(AT_ONCE_N_BYTES, end - start), start)
        if not piece:
            raise OSError(None, f"it ends at byte {start}; it was longer")
        yield piece
        start += len(piece)


def unreadable(path: Path, error: OSError) -> UsageError:
    """The error for a file that was opened, and then cannot be read."""
    return UsageError(f"{path}: cannot be read: {error.strerror or error}")
