"""Whether this llama.cpp lays its structures out as this program reads and writes them.

Each structure is made and asked about by the library's own public functions, and what they say is
compared with what stands in memory. A table of functions is checked with a function in every
place that says which place it was called from, so that a wrong place is told and harms nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import Any

from ggufsurgeon.aliasing.empty_buffer import (
    BASE,
    BufferFunctions,
    BufferType,
    EmptyBufferType,
    new_buffer,
)
from ggufsurgeon.engine.graph.tensor import FLAG_COMPUTE, Tensor
from ggufsurgeon.engine.installation.library import ggml, llama_cpp
from ggufsurgeon.engine.tensor_map import has_tensor_map
from ggufsurgeon.errors import AliasingUnavailableError

OBJECT_N_BYTES = 32
"""`GGML_OBJECT_SIZE`: what stands before each tensor of a context (ggml/src/ggml.c:958)."""
FLAG_OUTPUT = 2
"""`GGML_TENSOR_FLAG_OUTPUT` (ggml/include/ggml.h)."""
N_PLACES = 24
"""Places of a table that is checked: more than any of the tables has."""
Q4_0, Q4_0_ROW_N_BYTES = 2, 36
"""A quantized type, and 64 numbers of it: blocks of 32 in 18 bytes."""


@cache
def check_layout() -> None:
    """Check once in a process. Raises AliasingUnavailableError that names what differs."""
    missing = [name for name in ("tensor_buft_overrides", "load_mode") if not _has_param(name)]
    if missing or not has_tensor_map():
        raise _differs(", ".join(missing) or "the list of a model's tensors")
    # One after the other: what comes later relies on what was right before.
    for name, is_right in chain(_tensor_facts(), _buffer_type_facts(), _buffer_facts()):
        if not is_right:
            raise _differs(name)


def _differs(what: str) -> AliasingUnavailableError:
    return AliasingUnavailableError(
        f"this llama.cpp differs from the one that aliased models were made for: {what}"
    )


def _has_param(name: str) -> bool:
    return hasattr(llama_cpp().llama_model_params, name)


class _InitParams(ctypes.Structure):
    """`struct ggml_init_params` (ggml/include/ggml.h:677)."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


@contextmanager
def _opened_tensors() -> Iterator[tuple[ctypes.c_void_p, ctypes.c_void_p]]:
    """A context of ggml, and a tensor [3, 64] of Q4_0 in it, called `layout`."""
    context = _pointer("ggml_init", _InitParams(1 << 20, None, True))
    try:
        sizes = ctypes.c_int64(64), ctypes.c_int64(3)
        tensor = _pointer("ggml_new_tensor_2d", context, ctypes.c_int(Q4_0), *sizes)
        ggml().ggml_set_name(tensor, b"layout")
        yield context, tensor
    finally:
        ggml().ggml_free(context)


def _tensor_facts() -> Iterator[tuple[str, bool]]:
    """What is right in `struct ggml_tensor`, by the name of its parts."""
    overhead = _size("ggml_tensor_overhead")
    yield "the size of ggml_tensor", overhead == OBJECT_N_BYTES + ctypes.sizeof(Tensor)
    empty = EmptyBufferType("layout")
    with _opened_tensors() as (context, tensor):
        weight = _at(tensor)
        name = _pointer("ggml_get_name", tensor).value
        yield "ggml_tensor.name", name == _address(tensor) + Tensor.name.offset
        yield "ggml_tensor.type", weight.type == Q4_0
        yield "ggml_tensor.ne", tuple(weight.ne) == (64, 3, 1, 1)
        strides = 18, Q4_0_ROW_N_BYTES, 3 * Q4_0_ROW_N_BYTES, 3 * Q4_0_ROW_N_BYTES
        yield "ggml_tensor.nb", tuple(weight.nb) == strides
        buffer = ctypes.c_void_p(new_buffer(empty.address, empty.functions, 4096))
        ggml().ggml_backend_tensor_alloc(buffer, tensor, ctypes.c_void_p(BASE + 64))
        yield "ggml_tensor.buffer", weight.buffer == buffer.value
        yield "ggml_tensor.data", weight.data == BASE + 64
        yield "the notes of an empty buffer", empty.names == {tensor.value: b"layout"}
        yield "ggml_tensor.extra", weight.extra is None
        yield from _node_facts(context, tensor)
        ggml().ggml_backend_buffer_free(buffer)


def _node_facts(context: ctypes.c_void_p, tensor: ctypes.c_void_p) -> Iterator[tuple[str, bool]]:
    """What is right in the parts of `struct ggml_tensor` that nodes of a graph have."""
    part = ctypes.c_int64(32), ctypes.c_size_t(18)
    view = _pointer("ggml_view_1d", context, tensor, *part)
    node = _at(view)
    yield "ggml_tensor.view_src", (node.view_src, node.view_offs) == (tensor.value, 18)
    yield "ggml_tensor.src", node.src[0] == tensor.value and node.src[1] is None
    name_of_op = ggml().ggml_op_name
    name_of_op.restype = ctypes.c_char_p
    yield "ggml_tensor.op", name_of_op(ctypes.c_int(node.op)) == b"VIEW"
    ggml().ggml_set_output(view)
    yield "ggml_tensor.flags", node.flags == FLAG_OUTPUT
    graph = _pointer("ggml_new_graph", context)
    ggml().ggml_build_forward_expand(graph, view)
    yield "GGML_TENSOR_FLAG_COMPUTE", node.flags == FLAG_OUTPUT | FLAG_COMPUTE


class _Places:
    """A table with a function in each place, which notes the place that it was called from."""

    def __init__(self) -> None:
        self.called: list[int] = []
        self.answer = 0
        kind = ctypes.CFUNCTYPE(ctypes.c_size_t, *[ctypes.c_size_t] * 4)
        self._functions = [kind(self._noting(place)) for place in range(N_PLACES)]
        self.table = (ctypes.c_void_p * N_PLACES)(
            *(ctypes.cast(function, ctypes.c_void_p).value for function in self._functions)
        )

    def _noting(self, place: int) -> Any:
        def note(*_arguments: int) -> int:
            self.called.append(place)
            return self.answer

        return note

    def is_called(self, kind: type[ctypes.Structure], field: str, name: str, *of: Any) -> bool:
        """Whether the library's function `name` calls the function at the place of `field`."""
        self.called.clear()
        _size(name, *of)
        expected = getattr(kind, field).offset // ctypes.sizeof(ctypes.c_void_p)
        return bool(self.called) and self.called[-1] == expected


def _buffer_type_facts() -> Iterator[tuple[str, bool]]:
    """What is right in the table of functions of a buffer type."""
    places = _Places()
    own = ctypes.c_void_p(ctypes.addressof(places.table))
    places.answer = 3 * Q4_0_ROW_N_BYTES  # what a size may be
    with _opened_tensors() as (_, tensor):
        for field, name, *of in (
            ("get_name", "ggml_backend_buft_name"),
            ("alloc_buffer", "ggml_backend_buft_alloc_buffer", ctypes.c_size_t(64)),
            ("get_alignment", "ggml_backend_buft_get_alignment"),
            ("get_max_size", "ggml_backend_buft_get_max_size"),
            ("get_alloc_size", "ggml_backend_buft_get_alloc_size", tensor),
            ("is_host", "ggml_backend_buft_is_host"),
        ):
            yield f"{name}", places.is_called(BufferType, field, name, own, *of)
    device = _pointer("ggml_backend_buft_get_device", own).value
    yield "ggml_backend_buffer_type.device", device == places.table[6]


def _buffer_facts() -> Iterator[tuple[str, bool]]:
    """What is right in the table of functions of a buffer."""
    empty, places = EmptyBufferType("layout"), _Places()

    class Padded(ctypes.Structure):  # an array is no argument that C copies
        _fields_ = (("table", ctypes.c_void_p * N_PLACES),)

    places.answer = BASE
    buffer = ctypes.c_void_p(new_buffer(empty.address, Padded(places.table), 4096))
    yield "the size of a buffer", _size("ggml_backend_buffer_get_size", buffer) == 4096
    own_type = _pointer("ggml_backend_buffer_get_type", buffer).value
    yield "the type of a buffer", own_type == empty.address
    data = ctypes.create_string_buffer(8)
    range_ = ctypes.c_size_t(0), ctypes.c_size_t(8)
    with _opened_tensors() as (_, tensor):
        _at(tensor).buffer, _at(tensor).data = buffer.value, BASE
        for field, name, *of in (
            ("get_base", "ggml_backend_buffer_get_base", buffer),
            ("init_tensor", "ggml_backend_buffer_init_tensor", buffer, tensor),
            ("set_tensor", "ggml_backend_tensor_set", tensor, data, *range_),
            ("get_tensor", "ggml_backend_tensor_get", tensor, data, *range_),
            ("clear", "ggml_backend_buffer_clear", buffer, ctypes.c_uint8(0)),
            ("reset", "ggml_backend_buffer_reset", buffer),
            ("free_buffer", "ggml_backend_buffer_free", buffer),
        ):
            yield name, places.is_called(BufferFunctions, field, name, *of)


def _at(tensor: ctypes.c_void_p) -> Tensor:
    return Tensor.from_address(_address(tensor))


def _address(pointer: ctypes.c_void_p) -> int:
    return pointer.value or 0


def _pointer(name: str, *arguments: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(_size(name, *arguments))


def _size(name: str, *arguments: Any) -> int:
    function = getattr(ggml(), name, None)
    if function is None:
        raise _differs(f"it has no {name}")
    function.restype = ctypes.c_size_t
    return int(function(*arguments))
