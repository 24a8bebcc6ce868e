"""Where the data of each tensor lies. Pure arithmetic.

`offset_in_data` counts from the start of the data section, `offset_in_file` from the start of
the file.
"""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.container.ggml_types import tensor_n_bytes
from ggufsurgeon.container.headers.cursor import INCOMPLETE
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import MalformedFileError


@dataclass(frozen=True)
class Layout:
    """The data section of a file of `n_bytes`."""

    data_start: int
    """Offset in the file at which the data section starts."""
    tensor_n_bytes: tuple[int, ...]
    """Size of each tensor, in tensor-info order, without the padding behind it."""
    data_n_bytes: int
    """Size of the data section with the padding behind the last tensor."""
    n_bytes: int
    """Size of the file. May end before the last padding, or go on behind it."""


def pad(n: int, alignment: int) -> int:
    """`n` rounded up to a multiple of `alignment`."""
    return -(-n // alignment) * alignment


def lay_out(header: Header, header_n_bytes: int, file_n_bytes: int, path: str) -> Layout:
    """Check every tensor's extent against the others and the file.

    llama.cpp asks that each offset is the padded end of the tensor before it (gguf.cpp:795-817)
    and that the data lies inside the file (llama-model-loader.h:46-49).
    """
    alignment = header.alignment
    data_start = pad(header_n_bytes, alignment) if header.tensors else header_n_bytes
    sizes: list[int] = []
    expected = 0
    for index, tensor in enumerate(header.tensors):
        if tensor.offset_in_data != expected:
            raise MalformedFileError(
                path,
                f"tensor {quoted(tensor.name)} has offset {tensor.offset_in_data} in the data "
                f"section, expected {expected} (the padded end of the tensor before it)",
            )
        room = file_n_bytes - data_start - expected
        sizes.append(_size(header, index, room, path))
        if sizes[-1] > room:
            raise MalformedFileError(
                path,
                f"tensor {quoted(tensor.name)} ends {sizes[-1] - room} bytes behind the end of the "
                "file",
                offset=data_start + expected,
                hint=INCOMPLETE,
            )
        expected = pad(expected + sizes[-1], alignment)
    return Layout(data_start, tuple(sizes), expected, file_n_bytes)


def _size(header: Header, index: int, room: int, path: str) -> int:
    """Bytes of a tensor; for an unknown type, up to the next tensor or the end of the file."""
    tensor = header.tensors[index]
    try:
        known = tensor_n_bytes(tensor.dims, tensor.type_id)
    except ValueError as error:
        raise MalformedFileError(path, f"tensor {quoted(tensor.name)}: {error}") from None
    if known is not None:
        return known
    is_last = index + 1 == len(header.tensors)
    n_bytes = room if is_last else header.tensors[index + 1].offset_in_data - tensor.offset_in_data
    if n_bytes < 1:
        raise MalformedFileError(
            path, f"tensor {quoted(tensor.name)}, of unknown type {tensor.type_id}, has no room"
        )
    return n_bytes
