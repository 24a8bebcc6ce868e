"""Control vectors: does a set belong to a model, and where do they go along a layer path?

The tensor `direction.N` is added to the output of block N, counted from 0; there is none for block
0 (common_control_vector_load_one in common/common.cpp takes N from 1 on and puts `direction.1`
first; llama_adapter_cvec::apply in src/llama-adapter.cpp gives that to block 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.companions.kinds import BaseModel
from ggufsurgeon.container.ggml_types import F32
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import KeyValue
from ggufsurgeon.container.headers.values import ValueType, encode_value
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.planning.new_tensors.tensors import OutputTensor

COUNT = "controlvector.layer_count"
HINT = "controlvector.model_hint"
WITHOUT_VECTORS = frozenset(
    {
        *("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3"),
        *("modern-bert", "neo-bert", "eurobert", "plamo2", "qwen4exp", "hy_v4"),
    }
)
"""Architectures whose graphs add no control vectors (no build_cvec in src/models/)."""
_NAME = re.compile(r"direction\.([1-9]\d{0,8})", re.ASCII)


def check_control_vectors(vectors: GgufFile, base: BaseModel) -> None:
    """Raise RefusedError where the vectors were not made for `base`.

    Raises MalformedFileError for a file that llama.cpp does not load.
    """
    hint = vectors.header.get(HINT)
    # repeng writes names of transformers there, such as mistral for a llama.
    if isinstance(hint, str) and hint in ARCHITECTURES and hint != base.architecture:
        raise RefusedError(
            f"{vectors.path} has control vectors for the architecture {quoted(hint)}, and "
            f"{base.file.path} is of {quoted(base.architecture)}"
        )
    if base.architecture in WITHOUT_VECTORS:
        raise RefusedError(
            f"llama.cpp adds no control vectors to models of {quoted(base.architecture)}"
        )
    width = base.file.header.get(f"{base.architecture}.embedding_length")
    for tensor, block in zip(vectors.header.tensors, blocks_of(vectors), strict=True):
        if tensor.type_id != F32 or len(tensor.dims) != 1:
            raise MalformedFileError(
                str(vectors.path), f"the tensor {quoted(tensor.name)} is no vector of F32"
            )
        if tensor.dims[0] != width:
            raise RefusedError(
                f"{vectors.path} has vectors of {tensor.dims[0]:,} numbers, and the residual "
                f"stream of {base.file.path} has {quoted(width)}: they were made for another model"
            )
        if block >= base.blocks.n_trunk:
            raise RefusedError(
                f"{vectors.path} has a vector for block {block}, and {base.file.path} has "
                f"{base.blocks.n_trunk} blocks: it was made for another model"
            )


def blocks_of(vectors: GgufFile) -> list[int]:
    """The block of each tensor. Raises MalformedFileError where one is of none."""
    found = []
    for tensor in vectors.header.tensors:
        block = block_of_vector(tensor.name)
        if block is None:
            raise MalformedFileError(
                str(vectors.path),
                f"the tensor {quoted(tensor.name)} is no direction.N with a block N from 1 on",
            )
        found.append(block)
    return found


def block_of_vector(name: str) -> int | None:
    """The block whose output a vector of this name is added to, or None."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def choose_vectors(vectors: GgufFile, path: Sequence[int | None]) -> list[OutputTensor]:
    """A vector for each position of `path` whose block has one: each run of a block adds it.

    None is a block of another model, which has none.

    Raises RefusedError where the first position needs one, which llama.cpp has no place for.
    """
    index_of = {block: index for index, block in enumerate(blocks_of(vectors))}
    if path[0] in index_of:
        raise RefusedError(
            f"block {path[0]} runs first on this layer path, and {vectors.path} has a vector for "
            "it: llama.cpp adds none behind the first block of a model"
        )
    return [
        OutputTensor(f"direction.{position}", index_of[block])
        for position, block in enumerate(path)
        if block is not None and block in index_of
    ]


def count_pair(vectors: GgufFile, n_vectors: int) -> Iterator[KeyValue]:
    """The number of vectors, where the file has it; llama.cpp does not read it."""
    if COUNT in vectors.header.pair_of:
        order = vectors.header.byte_order
        raw = encode_value(ValueType.INT32, n_vectors, order)
        yield make_pair(COUNT, ValueType.INT32, raw, order)
