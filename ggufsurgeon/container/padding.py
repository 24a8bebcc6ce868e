"""Padding whose bytes are not all zeros.

llama.cpp pads with zeros (`gguf_writer_base::pad`, ggml/src/gguf.cpp), but reads any bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ggufsurgeon.container.file_bytes import Buffer
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.layout import Layout, pad

LOOKED_AT_N_BYTES = 4096
"""Longer padding is not read, so that a huge alignment costs no time: it is taken for odd."""


class PaddingRange(NamedTuple):
    """Padding behind the header or behind a tensor."""

    offset_in_file: int
    n_bytes: int


def odd_padding(
    data: Buffer, header: Header, header_n_bytes: int, layout: Layout
) -> tuple[PaddingRange, ...]:
    """The padding of a file that is not zeros, or too long to be looked at."""
    return tuple(
        found
        for found in all_padding(header, header_n_bytes, layout)
        if found.n_bytes > LOOKED_AT_N_BYTES
        or any(data[found.offset_in_file : found.offset_in_file + found.n_bytes])
    )


def all_padding(header: Header, header_n_bytes: int, layout: Layout) -> Iterator[PaddingRange]:
    """All padding, as far as the file goes."""
    end = min(pad(header_n_bytes, header.alignment), layout.n_bytes)
    yield PaddingRange(header_n_bytes, end - header_n_bytes)
    for tensor, n_bytes in zip(header.tensors, layout.tensor_n_bytes, strict=True):
        end = layout.data_start + tensor.offset_in_data + n_bytes
        n_padding = min(pad(n_bytes, header.alignment) - n_bytes, layout.n_bytes - end)
        if n_padding:
            yield PaddingRange(end, n_padding)
