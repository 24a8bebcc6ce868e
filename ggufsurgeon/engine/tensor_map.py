"""The weights of a loaded model, by name.

llama.cpp keeps them in a C++ vector of strings and pointers, which it exports for its own tests
(src/llama-model.h:882). The name of the function says that the strings are libstdc++'s, whose
layout its ABI fixes: the address of the text, its length, and room for a short one in place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, NamedTuple

from ggufsurgeon.engine.graph.tensor import name_of
from ggufsurgeon.engine.installation.library import ggml, llama_cpp
from ggufsurgeon.errors import AliasingUnavailableError

FUNCTION = "_Z29llama_internal_get_tensor_mapB5cxx11PK11llama_model"
"""Its name as the compiler spells it; `B5cxx11` stands for the strings."""
_SHORT = 15
"""Characters of the longest text that stands in the string itself."""
_MAX_NAME = 63
"""`GGML_MAX_NAME` less the final zero."""


class _Vector(ctypes.Structure):
    _fields_ = (
        ("first", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("end_of_room", ctypes.c_void_p),
    )


class _Entry(ctypes.Structure):
    """`std::pair<std::string, ggml_tensor *>`."""

    _fields_ = (
        ("text", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("short", ctypes.c_char * 16),
        ("tensor", ctypes.c_void_p),
    )


class Weight(NamedTuple):
    """A weight of a loaded model."""

    name: str
    address: int


def has_tensor_map() -> bool:
    """Whether this llama.cpp exports the list, with strings of the layout that is known."""
    return hasattr(ggml(), FUNCTION)


def weights_of(model: Any) -> Iterator[Weight]:
    """All weights of a native model. One that is used twice may be there twice, in two buffers.

    Raises AliasingUnavailableError when the list is not laid out as expected.
    """
    llama_cpp()
    function = getattr(ggml(), FUNCTION)
    function.restype = ctypes.c_void_p
    vector = _Vector.from_address(function(ctypes.c_void_p(model)))
    first, end = vector.first or 0, vector.end or 0
    for address in range(first, end, ctypes.sizeof(_Entry)):
        entry = _Entry.from_address(address)
        # Nothing is followed before the string's own fields have shown that it is one.
        is_short = entry.text == address + _Entry.short.offset
        fits = 0 < entry.length <= _MAX_NAME and is_short == (entry.length <= _SHORT)
        if not fits or (end - first) % ctypes.sizeof(_Entry):
            raise AliasingUnavailableError("the list of a model's tensors is laid out otherwise")
        name = ctypes.string_at(entry.text, entry.length)
        if name_of(entry.tensor) != name:
            raise AliasingUnavailableError(f"the tensor {name.decode()} is called otherwise")
        yield Weight(name.decode("utf-8", "surrogateescape"), entry.tensor)
