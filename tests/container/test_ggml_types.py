"""Sizes of tensor types against the built ggml."""

from __future__ import annotations

import ctypes

import pytest

from ggufsurgeon.container.ggml_types import TypeSize, tensor_n_bytes, type_size

N_TYPES = 43
"""`GGML_TYPE_COUNT` (ggml/include/ggml.h): ggml reads past its table beyond."""


def of_ggml() -> dict[int, TypeSize]:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    from ggufsurgeon.engine.installation.library import ggml

    library = ggml()
    library.ggml_type_name.restype = ctypes.c_char_p
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_blck_size.restype = ctypes.c_int64
    found = {}
    for number in range(N_TYPES):
        sizes = library.ggml_blck_size(number), library.ggml_type_size(number)
        if sizes[0]:  # else the type was removed
            found[number] = TypeSize(library.ggml_type_name(number).decode(), *sizes)
    return found


def test_sizes_are_those_of_ggml() -> None:
    theirs = of_ggml()
    assert len(theirs) > 30 and theirs[9].n_bytes == 36
    for number, size in theirs.items():
        ours = type_size(number)
        assert ours is not None, f"type {number}, {size}"
        assert (ours.n_elements, ours.n_bytes) == (size.n_elements, size.n_bytes), size.name
        assert ours.name.upper() == size.name.upper()


def test_a_tensor_of_q8_1() -> None:
    assert tensor_n_bytes((64, 3), 9) == 2 * 36 * 3
