"""Files that GGUF allows, or other programs write, but llama.cpp's reader refuses.

They can be inspected, since image models and other readers use such files. A language model with
these properties is treated as malformed, since llama.cpp would not load a patch of it.
"""

from __future__ import annotations

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.header import KeyValue, TensorInfo
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.container.values import ValueType, read_array_prefix
from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.rules.media_models import LANGUAGE_MODEL_N_DIMS

MAX_NAME_N_BYTES = 63
"""Bytes of the longest tensor name: `GGML_MAX_NAME` less the final zero
(ggml/include/ggml.h:228, gguf.cpp:657)."""


def check_llama_cpp_reads(file: GgufFile) -> None:
    """Raise MalformedFileError for a header that llama.cpp does not read."""
    for pair in file.header.pairs:
        if problem := _problem_of_pair(pair):
            raise MalformedFileError(str(file.path), problem)
    for tensor in file.header.tensors:
        if problem := _problem_of_tensor(tensor):
            raise MalformedFileError(str(file.path), problem)


def _problem_of_pair(pair: KeyValue) -> str:
    """Arrays of arrays, and empty ones of a type that GGUF lacks: the switch over types in
    `gguf_init_from_reader` (ggml/src/gguf.cpp)."""
    if pair.value_type != ValueType.ARRAY:
        return ""
    kind, _ = read_array_prefix(pair.raw, pair.value_at, pair.byte_order)
    if kind == ValueType.ARRAY:
        return f"{quoted(pair.key)} is an array of arrays, which llama.cpp does not load"
    if kind not in ValueType.__members__.values():
        return f"{quoted(pair.key)} is an array of the unknown type {kind}"
    return ""


def _problem_of_tensor(tensor: TensorInfo) -> str:
    name = tensor.name.encode("utf-8", "surrogateescape")
    if len(name) > MAX_NAME_N_BYTES:
        return (
            f"tensor {quoted(tensor.name)} has a name of {len(name)} bytes, and llama.cpp loads at "
            f"most {MAX_NAME_N_BYTES}"
        )
    if len(tensor.dims) > LANGUAGE_MODEL_N_DIMS:
        return (
            f"tensor {quoted(tensor.name)} has {len(tensor.dims)} dimensions, and llama.cpp loads "
            f"at most {LANGUAGE_MODEL_N_DIMS}"
        )
    return ""
