"""A buffer type of ggml whose buffers hold nothing: weights that go to it are not read.

llama.cpp makes buffers and puts weights into them by the functions of a type, so it does with these
as with any other (ggml/src/ggml-backend-impl.h:21-74). When a weight is put into one, its address
and name are noted and its name is taken away: the loader then looks for its data by name, finds
none, and leaves it as it is (src/llama-model-loader.cpp:1626). It gets name and memory afterwards.
"""

from __future__ import annotations

import ctypes
from typing import Any

from ggufsurgeon.engine.graph.tensor import Tensor
from ggufsurgeon.engine.installation.library import ggml

BASE = 1 << 62
"""The address that the memory of an empty buffer seems to start at. No process can map it."""
ALIGNMENT = 64


class BufferType(ctypes.Structure):
    """`struct ggml_backend_buffer_type`, its functions first (ggml-backend-impl.h:21-41)."""

    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in (
            "get_name",
            "alloc_buffer",
            "get_alignment",
            "get_max_size",
            "get_alloc_size",
            "is_host",
            "device",
            "context",
        )
    )


class BufferFunctions(ctypes.Structure):
    """`struct ggml_backend_buffer_i` (ggml-backend-impl.h:52-74)."""

    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in (
            "free_buffer",
            "get_base",
            "init_tensor",
            "memset_tensor",
            "set_tensor",
            "get_tensor",
            "set_tensor_2d",
            "get_tensor_2d",
            "cpy_tensor",
            "clear",
            "reset",
        )
    )


_TRANSFER = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
)
_SIGNATURES = {
    "get_name": ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p),
    "alloc_buffer": ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t),
    "get_alignment": ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p),
    "get_base": ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p),
    "init_tensor": ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
    "set_tensor": _TRANSFER,
    "get_tensor": _TRANSFER,
}


class EmptyBufferType:
    """The type, and the addresses of its buffers and of their weights since the last `forget`.

    Buffers point to their type until their model is freed, so it must live as long as the process.
    llama.cpp frees a buffer without calling back, so also after the interpreter has ended.
    """

    def __init__(self, name: str) -> None:
        self._name = ctypes.create_string_buffer(name.encode())
        self.buffers: set[int] = set()
        self.names: dict[int, bytes] = {}
        """Names of the weights by address."""
        self._callbacks: list[Any] = []
        self._type = BufferType(
            get_name=self._native("get_name", lambda _type: ctypes.addressof(self._name)),
            alloc_buffer=self._native("alloc_buffer", self._alloc),
            get_alignment=self._native("get_alignment", lambda _type: ALIGNMENT),
        )
        self.functions = BufferFunctions(
            get_base=self._native("get_base", lambda _buffer: BASE),
            init_tensor=self._native("init_tensor", self._note),
            set_tensor=self._native("set_tensor", lambda *_: None),
            get_tensor=self._native("get_tensor", lambda *_: None),
        )

    @property
    def address(self) -> int:
        """The native type, a `ggml_backend_buffer_type_t`."""
        return ctypes.addressof(self._type)

    def forget(self) -> None:
        """Forget the buffers and weights of a load."""
        self.buffers, self.names = set(), {}

    def give_names_back(self) -> None:
        """Give each weight its name again, once the model is loaded."""
        for address, name in self.names.items():
            Tensor.from_address(address).name = name

    def _native(self, name: str, function: Any) -> int | None:
        callback = _SIGNATURES[name](function)
        self._callbacks.append(callback)  # ctypes frees what is not kept
        return ctypes.cast(callback, ctypes.c_void_p).value

    def _alloc(self, own_type: int, n_bytes: int) -> int:
        buffer = int(new_buffer(own_type, self.functions, n_bytes))
        self.buffers.add(buffer)
        return buffer

    def _note(self, _buffer: int, address: int) -> int:
        tensor = Tensor.from_address(address)
        self.names[address] = tensor.name
        tensor.name = b""
        return 0  # GGML_STATUS_SUCCESS


def new_buffer(buffer_type: int, functions: ctypes.Structure, n_bytes: int) -> int:
    """A native buffer of a type, with copies of `functions`."""
    init = ggml().ggml_backend_buffer_init
    init.restype = ctypes.c_void_p
    arguments = ctypes.c_void_p(buffer_type), functions, ctypes.c_void_p(None)
    return int(init(*arguments, ctypes.c_size_t(n_bytes)))
