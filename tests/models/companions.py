"""LoRA adapters, importance matrices and control vectors for a model, with seeded random values."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.rules.block_names import block_of
from tests.models.builders import F32, I32, STRING, U32, Tensor, gguf, pair

RANK = 2


def values(name: str, *dims: int) -> Tensor:
    """A tensor of F32, normal(0, 0.1) drawn by its name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    drawn = rng.normal(0, 0.1, math.prod(dims)).astype(np.float32)
    return Tensor(name, dims, drawn.tobytes())


def weights_of(model: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The weights of blocks that are matrices, or matrices one behind the other."""
    for tensor in open_gguf(model).header.tensors:
        is_weight = tensor.name.endswith(".weight") and block_of(tensor.name) is not None
        if is_weight and len(tensor.dims) > 1:
            yield tensor.name, tensor.dims


def lora_tensors(model: Path) -> list[Tensor]:
    """Two factors of rank 2 for each weight of a block."""
    tensors = []
    for name, (n_in, n_out, *more) in weights_of(model):
        tensors.append(values(f"{name}.lora_a", n_in, RANK, *more))
        tensors.append(values(f"{name}.lora_b", RANK, n_out, *more))
    return tensors


def lora_pairs(architecture: str | None, *more: bytes) -> list[bytes]:
    return [
        pair("general.architecture", STRING, architecture),
        pair("general.type", STRING, "adapter"),
        pair("adapter.type", STRING, "lora"),
        pair("adapter.lora.alpha", F32, 16.0),
        *more,
    ]


def lora(model: Path, *more: bytes, tensors: Sequence[Tensor] | None = None) -> bytes:
    """An adapter for all blocks of a model."""
    architecture = open_gguf(model).header.architecture
    return gguf(lora_pairs(architecture, *more), tensors or lora_tensors(model))


def imatrix_tensors(model: Path) -> list[Tensor]:
    tensors = []
    for name, (n_in, _, *more) in weights_of(model):
        n_matrices = math.prod(more)
        tensors.append(values(f"{name}.in_sum2", n_in, n_matrices))
        tensors.append(values(f"{name}.counts", 1, n_matrices))
    return tensors


def imatrix(model: Path, *, tensors: Sequence[Tensor] | None = None) -> bytes:
    """An imatrix that covers all blocks of a model."""
    pairs = [
        pair("general.type", STRING, "imatrix"),
        pair("imatrix.chunk_count", U32, 3),
        pair("imatrix.chunk_size", U32, 512),
    ]
    return gguf(pairs, tensors or imatrix_tensors(model))


def control_vectors(model: Path, blocks: Sequence[int], hint: str | None = None) -> bytes:
    """Vectors for some blocks of a model."""
    header = open_gguf(model).header
    width = header.get(f"{header.architecture}.embedding_length")
    assert isinstance(width, int)
    pairs = [
        pair("general.architecture", STRING, "controlvector"),
        pair("controlvector.model_hint", STRING, hint or header.architecture),
        pair("controlvector.layer_count", I32, len(blocks)),
    ]
    return gguf(pairs, [values(f"direction.{block}", width) for block in blocks])
