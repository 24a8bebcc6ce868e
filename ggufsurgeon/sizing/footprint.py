"""What a model takes in memory, from its header alone: weights and caches, block by block."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Model
from ggufsurgeon.container.ggml_types import tensor_n_bytes
from ggufsurgeon.container.header import Header
from ggufsurgeon.container.layout import Layout, pad
from ggufsurgeon.rules.blocks import block_of
from ggufsurgeon.sizing.caches import BlockCache, block_caches

CACHE_TYPES = {"f16": 1, "q8_0": 8}
"""ggml's numbers of the types that a cache usually has; llama.cpp's default first."""
INPUT_TENSORS = frozenset(
    f"{name}.weight"
    for name in ("token_embd", "position_embd", "token_types", "per_layer_token_embd")
)
"""They stay on the CPU (`LLM_TENSOR_LAYER_INPUT`, src/llama-arch.cpp:728-730,921)."""
SHARED_TENSORS = frozenset(
    f"{name}.weight" for name in ("rope_freqs", "rope_factors_long", "rope_factors_short")
)
"""Each device with blocks has a copy (src/llama-arch.cpp:743-745, `TENSOR_DUPLICATED`)."""
TENSOR_ALIGNMENT = 32
"""Of tensors in a buffer (ggml/src/ggml-impl.h:44)."""
N_UBATCH = 512
"""llama.cpp's default number of tokens that are computed at once."""
WINDOW_PADDING = 256
"""src/llama-kv-cache-iswa.cpp:63."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of weights, by what decides where llama.cpp puts them, and caches."""

    blocks: tuple[int, ...]
    n_input: int
    """Stays on the CPU."""
    n_tied: int
    """Of the input, so much is the output matrix too: copied to a device that has the output."""
    n_shared: int
    """Each device that has blocks has a copy."""
    n_output: int
    caches: tuple[BlockCache, ...] | None
    """Of each block; None where this version does not know the rule."""


def footprint(header: Header, layout: Layout, n_blocks: int, n_mtp: int) -> Footprint:
    """The footprint of a model of `n_blocks`, of which the last `n_mtp` are MTP blocks.

    Those count for nothing: llama.cpp does not load them unless it is asked to (`load_mtp`,
    src/llama-model.cpp:2927).
    """
    n_bytes: Counter[int | str] = Counter()
    for tensor, size in zip(header.tensors, layout.tensor_n_bytes, strict=True):
        n_bytes[_part(tensor.name)] += pad(size, TENSOR_ALIGNMENT)
        n_bytes[tensor.name] += pad(size, TENSOR_ALIGNMENT)
    return Footprint(
        blocks=tuple(n_bytes[n] if n < n_blocks - n_mtp else 0 for n in range(n_blocks)),
        n_input=n_bytes["input"],
        n_tied=0 if n_bytes["output.weight"] else n_bytes["token_embd.weight"],
        n_shared=n_bytes["shared"],
        n_output=n_bytes["output"],
        caches=block_caches(Model(header, n_blocks, n_mtp)),
    )


def _part(name: str) -> int | str:
    """The block, or what else it is that a tensor belongs to."""
    block = block_of(name)
    if block is not None:
        return block
    if name.startswith("token_embd_norm."):
        return 0  # with the first block, src/llama-arch.cpp:732
    if name in INPUT_TENSORS:
        return "input"
    return "shared" if name in SHARED_TENSORS else "output"


def cache_n_bytes(cache: BlockCache, n_ctx: int, kind: str) -> int | None:
    """Bytes of keys and values of one block; None where its rows cannot be of that type.

    A block with a sliding window keeps little more than that (src/llama-kv-cache-iswa.cpp:61-73)
    in llama.cpp's programs; with `swa_full` it keeps all, as in the library's defaults
    (common/common.h:574, src/llama-context.cpp:3788), and so in `verify` and `perplexity`.
    """
    n_cells = n_ctx
    if cache.window:
        n_cells = pad(min(n_ctx, cache.window + N_UBATCH), WINDOW_PADDING)
    try:
        rows = [tensor_n_bytes((n,), CACHE_TYPES[kind]) for n in (cache.n_key, cache.n_value)]
    except ValueError:
        return None
    return n_cells * sum(row or 0 for row in rows)
