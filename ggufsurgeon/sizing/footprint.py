"""Bytes of a model's weights and caches, from its header alone, by what decides where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ggufsurgeon.architectures.model import Model
from ggufsurgeon.container.ggml_types import tensor_n_bytes
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.layout import Layout, pad
from ggufsurgeon.rules.block_names import block_of
from ggufsurgeon.rules.tensor_overrides import TensorOverride, override_of
from ggufsurgeon.sizing.caches import BlockCache, block_caches

CACHE_TYPES = {"f16": 1, "q8_0": 8}
"""ggml's type ids of the usual types of a KV cache; llama.cpp's default comes first."""
INPUT_TENSORS = frozenset(
    f"{name}.weight"
    for name in ("token_embd", "position_embd", "token_types", "per_layer_token_embd")
)
"""Tensors that stay on the CPU (`LLM_TENSOR_LAYER_INPUT`, src/llama-arch.cpp:728-730,921)."""
SHARED_TENSORS = frozenset(
    f"{name}.weight" for name in ("rope_freqs", "rope_factors_long", "rope_factors_short")
)
"""Tensors of which each device with blocks has a copy (`TENSOR_DUPLICATED`,
src/llama-arch.cpp:743-745)."""
TENSOR_ALIGNMENT = 32
"""Alignment of tensors in a buffer, in bytes (ggml/src/ggml-impl.h:44)."""
N_UBATCH = 512
"""Default micro-batch size of llama.cpp, in tokens."""
WINDOW_PADDING = 256
"""Cells to a multiple of which caches of sliding windows are padded
(src/llama-kv-cache-iswa.cpp:63)."""


Part: TypeAlias = "int | str"
"""What lies on one device: a block, one of the names below, or a buffer that overrides name."""
INPUT = "input"
"""Input tensors, which stay on the CPU."""
TIED = "tied"
"""The input that is the output matrix too: copied to the device of the output."""
SHARED = "shared"
"""Tensors of which each device with blocks has a copy."""
OUTPUT = "output"
"""Output tensors."""


class PartSize(NamedTuple):
    """The tensors of a part: their bytes, and the piece of the data section that they are in."""

    n_bytes: int
    start: int
    end: int


@dataclass(frozen=True)
class Footprint:
    """The weights, by what decides where llama.cpp puts them, and the cache of each block."""

    n_blocks: int
    n_mtp: int
    """How many of the blocks are MTP blocks, the last ones."""
    parts: Mapping[Part, PartSize]
    """Parts that have tensors."""
    buffers: tuple[str, ...]
    """Those of the parts that are buffers of overrides."""
    caches: tuple[BlockCache, ...] | None
    """The cache of each block; None where this version does not know the rule."""

    def n_bytes(self, part: Part) -> int:
        """Bytes of a part; 0 for one without tensors."""
        return self.parts[part].n_bytes if part in self.parts else 0


def footprint(
    header: Header,
    layout: Layout,
    n_blocks: int,
    n_mtp: int,
    overrides: Sequence[TensorOverride] = (),
) -> Footprint:
    """The footprint of a model of `n_blocks`, of which the last `n_mtp` are MTP blocks.

    MTP blocks take no memory: llama.cpp does not load them by default (`load_mtp`,
    src/llama-model.cpp:2927). A tensor that an override moves is there once, also if it is input
    and output (src/llama-model-loader.cpp:1371). Raises UsageError for an override that is no
    regular expression.
    """
    found: dict[Part, list[PartSize]] = {}
    is_tied = all(tensor.name != "output.weight" for tensor in header.tensors)
    for tensor, n_bytes in zip(header.tensors, layout.tensor_n_bytes, strict=True):
        part = _part(tensor.name)
        if isinstance(part, int) and part >= n_blocks - n_mtp:
            continue
        parts: tuple[Part, ...] = (part,)
        if override := override_of(tensor.name, overrides):
            parts = (override.buffer,)
        elif tensor.name == "token_embd.weight" and is_tied:
            parts = (part, TIED)
        start = tensor.offset_in_data
        size = PartSize(pad(n_bytes, TENSOR_ALIGNMENT), start, start + n_bytes)
        for each in parts:
            found.setdefault(each, []).append(size)
    return Footprint(
        n_blocks=n_blocks,
        n_mtp=n_mtp,
        parts={part: _together(sizes) for part, sizes in found.items()},
        buffers=tuple({each.buffer: 0 for each in overrides if each.buffer in found}),
        caches=block_caches(Model(header, n_blocks, n_mtp)),
    )


def _together(sizes: Sequence[PartSize]) -> PartSize:
    """The bytes of several, and the piece from the first tensor to the last."""
    n_bytes, starts, ends = zip(*sizes, strict=True)
    return PartSize(sum(n_bytes), min(starts), max(ends))


def _part(name: str) -> Part:
    """The part of the footprint that a tensor counts for, without overrides."""
    block = block_of(name)
    if block is not None:
        return block
    if name.startswith("token_embd_norm."):
        return 0  # with the first block, src/llama-arch.cpp:732
    if name in INPUT_TENSORS:
        return INPUT
    return SHARED if name in SHARED_TENSORS else OUTPUT


def cache_n_bytes(cache: BlockCache, n_ctx: int, kind: str) -> int | None:
    """Bytes of keys and values of one block; None where its rows cannot be of that type.

    In llama.cpp's programs a block with a sliding window has a cache of little more than the
    window (src/llama-kv-cache-iswa.cpp:61-73). With `swa_full`, the library's default, it has one
    of the whole context (common/common.h:574, src/llama-context.cpp:3788).
    """
    n_cells = n_ctx
    if cache.window:
        n_cells = pad(min(n_ctx, cache.window + N_UBATCH), WINDOW_PADDING)
    try:
        rows = [tensor_n_bytes((n,), CACHE_TYPES[kind]) for n in (cache.n_key, cache.n_value)]
    except ValueError:
        return None
    return n_cells * sum(row or 0 for row in rows)
