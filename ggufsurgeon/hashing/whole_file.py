"""SHA-256 of a whole file, and of each tensor in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.container.joined_bytes import JoinedBytes, opened_bytes
from ggufsurgeon.errors import UsageError
from ggufsurgeon.hashing.threads import run_all
from ggufsurgeon.progress import NO_PROGRESS, Progress

AT_ONCE_N_BYTES = 4 << 20


@dataclass(frozen=True)
class FileHashes:
    """SHA-256, in hexadecimal, of a file and of the data of each tensor, without padding."""

    sha256: str
    """For a model in shards, the SHA-256 of the joined shards."""
    tensors: tuple[str, ...]
    """In the order of the tensor infos."""
    shards: tuple[str, ...] = ()
    """The SHA-256 of each shard; empty for a single file."""


def content_sha256(path: Path, progress: Progress = NO_PROGRESS) -> str:
    """SHA-256 of a whole model, of shards that of the file that they make; `progress` counts bytes.

    Raises as `open_gguf`, and UsageError when it cannot be read.
    """
    return file_sha256(open_gguf(path), progress)


def file_sha256(file: GgufFile, progress: Progress = NO_PROGRESS) -> str:
    """As `content_sha256`, for an open model, or one of its shards.

    Raises UsageError when it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with opened_bytes(file) as data:
            progress.begin(f"SHA-256 of {file.path.name}", data.n_bytes, "bytes")
            for piece in read_region(data, 0, data.n_bytes, Event()):
                digest.update(piece)
                progress.advance(len(piece))
    except OSError as error:
        raise unreadable(file.path, error) from None
    return digest.hexdigest()


def hash_file(file: GgufFile, progress: Progress = NO_PROGRESS) -> FileHashes:
    """SHA-256 of the file, and in a second thread of each tensor; the disk is read once.

    Each shard of a model in shards is also hashed.

    Raises UsageError when it cannot be read, or ends before its header says.
    """
    whole, stop = hashlib.sha256(), Event()
    tensors: list[str] = []
    progress.begin(f"SHA-256 of {file.path.name}", file.layout.n_bytes, "bytes")

    def hash_whole() -> None:
        for piece in read_region(data, 0, file.layout.n_bytes, stop):
            whole.update(piece)
            progress.advance(len(piece))

    def hash_each() -> None:
        for group in tensor_groups(file):
            pieces = read_region(data, *region_of_group(file, group), stop)
            tensors.extend(hash_group(file, group, pieces))

    try:
        with opened_bytes(file) as data:
            run_all([hash_whole, hash_each], stop)
    except OSError as error:
        raise unreadable(file.path, error) from None
    return FileHashes(
        whole.hexdigest(),
        tuple(tensors),
        tuple(file_sha256(shard, progress) for shard in file.shards),
    )


def tensor_groups(file: GgufFile) -> Iterator[range]:
    """The tensors of a model by their indices: small ones that follow one another together.

    They are read at once, since files can have hundreds of thousands of a few bytes. A group spans
    no more bytes than are read at once, unless it is a single tensor.
    """
    first, end_of = 0, AT_ONCE_N_BYTES
    for index in range(len(file.header.tensors)):
        start, n_bytes = region_of(file, index)
        if index == first:
            end_of = start + AT_ONCE_N_BYTES
        elif start + n_bytes > end_of:
            yield range(first, index)
            first, end_of = index, start + AT_ONCE_N_BYTES
    if file.header.tensors:
        yield range(first, len(file.header.tensors))


def hash_group(file: GgufFile, group: range, pieces: Iterable[bytes]) -> list[str]:
    """SHA-256 of each tensor of a group, of which `pieces` are the bytes of `region_of_group`."""
    if len(group) == 1:
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        return [digest.hexdigest()]
    start, _ = region_of_group(file, group)
    together = memoryview(b"".join(pieces))
    regions = (region_of(file, index) for index in group)
    return [hashlib.sha256(together[at - start :][:n]).hexdigest() for at, n in regions]


def region_of_group(file: GgufFile, group: range) -> tuple[int, int]:
    """Where the data of a group start in the bytes of a model, and how many they are."""
    (start, _), (last, n_bytes) = region_of(file, group[0]), region_of(file, group[-1])
    return start, last + n_bytes - start


def region_of(file: GgufFile, tensor: int) -> tuple[int, int]:
    """Where the data of a tensor start in the bytes of a model, and how many they are."""
    offset = file.header.tensors[tensor].offset_in_data
    return file.layout.data_start + offset, file.layout.tensor_n_bytes[tensor]


def read_region(data: JoinedBytes, start: int, n_bytes: int, stop: Event) -> Iterator[bytes]:
    """The bytes of a region of a model, piece by piece, until `stop` is set.

    Raises OSError when the file ends before the region does.
    """
    end = start + n_bytes
    while start < end and not stop.is_set():
        piece = data.read(start, min(AT_ONCE_N_BYTES, end - start))
        if not piece:
            raise OSError(None, f"it ends at byte {start}; it was longer")
        yield piece
        start += len(piece)


def unreadable(path: Path, error: OSError) -> UsageError:
    """The error for a file that was opened, and then cannot be read."""
    return UsageError(f"{path}: cannot be read: {error.strerror or error}")
