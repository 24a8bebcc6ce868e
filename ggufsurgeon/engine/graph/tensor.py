"""A node of llama.cpp's graph: its name, its sources, its values."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ggufsurgeon.container.ggml_types import F32
from ggufsurgeon.engine.installation.library import ggml
from ggufsurgeon.errors import AliasingUnavailableError, RefusedError

FLAG_COMPUTE = 16
"""`GGML_TENSOR_FLAG_COMPUTE`: backends leave out nodes without it (ggml/include/ggml.h)."""


class Tensor(ctypes.Structure):
    """`struct ggml_tensor` (ggml/include/ggml.h:685-717)."""

    _fields_ = (
        ("type", ctypes.c_int32),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int32),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


_NAME_OFFSET = Tensor.name.offset
_FLAGS_OFFSET = Tensor.flags.offset


def name_of(address: int) -> bytes:
    """The name of the node at `address`. Fast, since it is called for every node of every graph."""
    return ctypes.string_at(address + _NAME_OFFSET)


def sources(address: int) -> Iterator[int]:
    """Addresses of the nodes and weights that a node is computed from."""
    for source in Tensor.from_address(address).src:
        if source:
            yield source


def is_computed(address: int) -> bool:
    """Whether backends compute a node. llama.cpp has them leave out the input that a batch does
    not have, tokens or embeddings (`ggml_build_forward_select`, ggml/src/ggml.c).
    """
    return bool(ctypes.c_int32.from_address(address + _FLAGS_OFFSET).value & FLAG_COMPUTE)


def set_computed(address: int, value: bool) -> None:
    """Set whether backends compute a node."""
    flags = ctypes.c_int32.from_address(address + _FLAGS_OFFSET)
    flags.value = flags.value | FLAG_COMPUTE if value else flags.value & ~FLAG_COMPUTE


def buffer_of(address: int) -> int:
    """The address of the buffer that a node or weight lies in; 0 for none."""
    return Tensor.from_address(address).buffer or 0


def is_in_host_memory(address: int) -> bool:
    """Whether a weight lies in the process's memory, in the plain layout of its type."""
    is_host = ggml().ggml_backend_buffer_is_host
    is_host.restype = ctypes.c_bool
    return bool(is_host(ctypes.c_void_p(buffer_of(address))))


def give_memory_of(source: int, target: int) -> None:
    """Let a weight have the memory of another one of the same type and shape, and what its buffer
    keeps beside it. Raises AliasingUnavailableError when they differ.
    """
    has, gets = Tensor.from_address(source), Tensor.from_address(target)
    if (has.type, *has.ne) != (gets.type, *gets.ne):
        name = name_of(target).decode("utf-8", "replace")
        raise AliasingUnavailableError(f"the loaded source has another type or shape of {name}")
    for field in ("nb", "buffer", "data", "extra", "view_src", "view_offs"):
        setattr(gets, field, getattr(has, field))


def read(address: int) -> npt.NDArray[np.float32]:
    """All values of a node, float32 in four dimensions, llama.cpp's first dimension last.

    Raises RefusedError when the node is not contiguous float32.
    """
    tensor = Tensor.from_address(address)
    values = np.empty(tuple(tensor.ne)[::-1], dtype=np.float32)
    n_bytes = ggml().ggml_nbytes
    n_bytes.restype = ctypes.c_size_t
    if tensor.type != F32 or n_bytes(ctypes.c_void_p(address)) != values.nbytes:
        raise RefusedError(f"the node {name_of(address).decode()} is not plain float32")
    ggml().ggml_backend_tensor_get(*_transfer(address, values))
    return values


def write(address: int, values: npt.NDArray[np.float32]) -> None:
    """Overwrite all values of a node with contiguous values of the shape that `read` gives."""
    ggml().ggml_backend_tensor_set(*_transfer(address, values))


def _transfer(address: int, values: npt.NDArray[np.float32]) -> tuple[object, ...]:
    """Arguments of ggml_backend_tensor_get and _set: node, data, offset and size."""
    pointer = values.ctypes.data_as(ctypes.c_void_p)
    return ctypes.c_void_p(address), pointer, ctypes.c_size_t(0), ctypes.c_size_t(values.nbytes)
