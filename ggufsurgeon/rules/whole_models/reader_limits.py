"""Files that GGUF allows, or other programs write, but that readers refuse or copy wrong.

Those that llama.cpp's reader refuses can be inspected, since image models and other readers use
such files. A language model with these properties is treated as malformed, since llama.cpp would
not load a patch of it. What only some programs cannot read is a note.
"""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import DEFAULT_ALIGNMENT, Header, KeyValue, TensorInfo
from ggufsurgeon.container.headers.values import ValueType, read_array_prefix
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.rules.whole_models.media_models import LANGUAGE_MODEL_N_DIMS

MAX_NAME_N_BYTES = 63
"""Bytes of the longest tensor name: `GGML_MAX_NAME` less the final zero
(ggml/include/ggml.h:228, gguf.cpp:657)."""

OTHER_ALIGNMENT = (
    "has tensor data aligned to {} bytes, as its source has: programs load it, but the files that "
    "llama-quantize and llama-gguf-split of llama.cpp 0.7.0 make of such a file may not load, or "
    "have wrong data; ollama create runs llama-quantize from version 0.30 on"
)
"""They pad tensors and header to 32 bytes, whatever the file says (`GGUF_DEFAULT_ALIGNMENT`,
src/llama-quant.cpp:1013, tools/gguf-split/gguf-split.cpp:261 of b11434; Ollama's
server/quantization.go of fb30760)."""
READERS_OF_SHARDS = (
    "llama.cpp and programs that load models with it read all shards when they are given the "
    "first; transformers 5.24.0 loads the first alone, with random weights for the rest, "
    "mistral.rs 0.9.5 does not load it, and Ollama before 0.30 imports no shards"
)


def alignment_notes(header: Header) -> Iterator[str]:
    """A note of an alignment that some programs do not keep, if the file has one."""
    if header.alignment != DEFAULT_ALIGNMENT:
        yield OTHER_ALIGNMENT.format(header.alignment)


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
