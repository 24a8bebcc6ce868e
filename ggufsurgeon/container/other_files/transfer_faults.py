"""What transfers leave in files: zeros of unfinished downloads, changed line ends."""

from __future__ import annotations

from ggufsurgeon.container.file_bytes import Buffer
from ggufsurgeon.container.headers.codec import MAGIC
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.layout import Layout

START_N_BYTES = 1 << 16
"""Bytes at the start of a broken file in which line feeds are counted."""
FEWEST_LINE_FEEDS = 4
END_N_BYTES = 4096
"""Bytes at the end of a file, or of the data of its tensors, that are looked at."""
TAIL_N_BYTES = 64
"""Zeros at the end of a tensor that the numbers in it do not explain."""
PIECE_N_BYTES = 1 << 16
N_PIECES = 16
"""Number of pieces of a tensor to check: reading all of a large one of zeros would take minutes."""


def ends_in_zeros(data: Buffer, header: Header, layout: Layout) -> bool:
    """Whether the data of the last tensors, without the padding behind them, are zeros that an
    unfinished download may have left."""
    if not header.tensors:
        return False
    end = layout.data_start + header.tensors[-1].offset_in_data + layout.tensor_n_bytes[-1]
    start = end - END_N_BYTES
    if start < layout.data_start or any(data[start:end]):
        return False
    return not _are_whole_tensors(data, header, layout)


def _are_whole_tensors(data: Buffer, header: Header, layout: Layout) -> bool:
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


def _are_zeros(data: Buffer, start: int, end: int) -> bool:
    """Whether evenly spread pieces of a tensor are zeros, including its first bytes.

    An incomplete download fills a tensor from its start, so that its first bytes are not zeros.
    """
    step = max(PIECE_N_BYTES, -(-(end - start) // N_PIECES))
    pieces = (data[at : min(at + PIECE_N_BYTES, end)] for at in range(start, end, step))
    return all(piece == bytes(len(piece)) for piece in pieces)


def hint_of_line_ends(data: Buffer) -> str:
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


def hint_of_end(data: Buffer) -> str:
    """A hint for a broken file that ends in zeros."""
    if len(data) < END_N_BYTES or any(data[-END_N_BYTES:]):
        return ""
    return (
        "The file ends in zeros, as a download does that reserves its space before it is "
        "complete: let it finish, or download the file again."
    )
