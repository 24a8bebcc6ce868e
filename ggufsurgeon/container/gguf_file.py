"""A GGUF file on disk, opened for reading only: its header, layout and identity."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ggufsurgeon.container.codec import INCOMPLETE, MAGIC, parse_header
from ggufsurgeon.container.file_names import hint_of_name
from ggufsurgeon.container.header import Header
from ggufsurgeon.container.layout import Layout, lay_out
from ggufsurgeon.errors import MalformedFileError, UsageError

START_N_BYTES = 1 << 16
"""Bytes at the start of a broken file in which line feeds are counted."""
FEWEST_LINE_FEEDS = 4
END_N_BYTES = 4096
"""Bytes at the end of a file, or of the data of its tensors, that are looked at."""
TAIL_N_BYTES = 64
"""Zeros at the end of a tensor that the numbers in it do not explain."""
PIECE_N_BYTES = 1 << 20


@dataclass(frozen=True)
class GgufFile:
    """What there is to know of a file without reading its tensor data."""

    path: Path
    header: Header
    header_n_bytes: int
    header_sha256: str
    """SHA-256 of the header, without the padding before the data section."""
    layout: Layout
    ends_in_zeros: bool = False
    """Whether the data of its tensors end in zeros, as a download does that reserves its space."""

    def offset_in_file(self, tensor: int) -> int:
        """Where the data of the tensor with this index starts."""
        return self.layout.data_start + self.header.tensors[tensor].offset_in_data


def open_gguf(path: str | os.PathLike[str]) -> GgufFile:
    """Read the header of the GGUF file at `path`.

    Raises UsageError when it is not a readable regular file, MalformedFileError when its
    content breaks the format.
    """
    path = Path(path)
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be opened: {_reason(error)}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(path, status.st_mode)
        return _read(descriptor, status.st_size, path)
    finally:
        os.close(descriptor)


def _read(descriptor: int, n_bytes: int, path: Path) -> GgufFile:
    if n_bytes == 0:
        hint = hint_of_name(path) or INCOMPLETE
        raise MalformedFileError(str(path), "the file is empty", hint=hint)
    # Mapped, because how long the header is shows only while it is parsed.
    with mmap.mmap(descriptor, n_bytes, access=mmap.ACCESS_READ) as data:
        try:
            header, header_n_bytes = parse_header(data, str(path))
            digest = hashlib.sha256(data[:header_n_bytes]).hexdigest()
            layout = lay_out(header, header_n_bytes, n_bytes, str(path))
        except MalformedFileError as error:
            if error.hint in ("", INCOMPLETE):
                found = _hint_of_line_ends(data) or hint_of_name(path) or _hint_of_end(data)
                error.hint = found or error.hint
            raise
        ends_in_zeros = _ends_in_zeros(data, header, layout)
    return GgufFile(path, header, header_n_bytes, digest, layout, ends_in_zeros)


def _ends_in_zeros(data: mmap.mmap, header: Header, layout: Layout) -> bool:
    """Whether the data of the last tensors, without the padding behind them, are zeros that an
    unfinished download may have left."""
    if not header.tensors:
        return False
    end = layout.data_start + header.tensors[-1].offset_in_data + layout.tensor_n_bytes[-1]
    start = end - END_N_BYTES
    if start < layout.data_start or any(data[start:end]):
        return False
    return not _are_whole_tensors(data, header, layout)


def _are_whole_tensors(data: mmap.mmap, header: Header, layout: Layout) -> bool:
    """Whether the zeros at the end are one tensor, or several of one dimension, such as biases.

    A download stops anywhere, and hardly ever where a tensor starts.
    """
    are_flat = True
    sizes = zip(header.tensors, layout.tensor_n_bytes, strict=True)
    for n_zero, (tensor, n_bytes) in enumerate(reversed(list(sizes))):
        start = layout.data_start + tensor.offset_in_data
        end = start + n_bytes
        if not _are_zeros(data, start, end):
            return n_zero > 0 and any(data[max(start, end - TAIL_N_BYTES) : end])
        are_flat = are_flat and sum(n > 1 for n in tensor.dims) <= 1
        if n_zero > 0 and not are_flat:
            return False
    return False


def _are_zeros(data: mmap.mmap, start: int, end: int) -> bool:
    pieces = range(start, end, PIECE_N_BYTES)
    return not any(any(data[at : min(at + PIECE_N_BYTES, end)]) for at in pieces)


def _hint_of_line_ends(data: mmap.mmap) -> str:
    """A hint for a broken file in which no line feed is without a carriage return before it.

    In any other file one in 256 has it by chance.
    """
    start = data[:START_N_BYTES]
    n_line_feeds = start.count(b"\n")
    if not start.startswith(MAGIC) or n_line_feeds < FEWEST_LINE_FEEDS:
        return ""
    if start.count(b"\r\n") != n_line_feeds:
        return ""
    return (
        "Its line ends were changed in transfer (each 0A byte has a 0D byte before it now): "
        "download it in binary mode."
    )


def _hint_of_end(data: mmap.mmap) -> str:
    """A hint for a broken file that ends in zeros."""
    if len(data) < END_N_BYTES or any(data[-END_N_BYTES:]):
        return ""
    return (
        "The file ends in zeros, as a download does that reserves its space before it is "
        "complete: let it finish, or download the file again."
    )


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _not_a_file(path: Path, mode: int) -> UsageError:
    if stat.S_ISDIR(mode):
        return UsageError(
            f"{path}: expected a GGUF file, found a folder",
            hint="Give a .gguf file in it; a folder with safetensors has to be converted first, "
            "with convert_hf_to_gguf.py of llama.cpp.",
        )
    return UsageError(f"{path}: expected a GGUF file, found something that is not a regular file")
