"""Sizes of the KV cache and the recurrent state of each block.

Source: `llama_model::create_memory` (src/llama-model.cpp:2338-2880) and the caches that it makes
(src/llama-kv-cache.cpp:167-239, src/llama-memory-recurrent.cpp:75-113).
"""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.architectures.model import Model
from ggufsurgeon.architectures.table import find_architecture
from ggufsurgeon.architectures.vocabulary.kinds import per_block
from ggufsurgeon.architectures.vocabulary.refusals import Refused
from ggufsurgeon.errors import RefusedError

NO_CACHE = frozenset({"dream", "llada", "llada-moe", "rnd1"})
"""Diffusion models, which have no cache (src/llama-model.cpp:2343-2360)."""
CACHING = frozenset({"llama-embed", "t5encoder"})
"""Encoders for which llama.cpp makes a cache nevertheless."""
RECURRENT = frozenset({"arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7"})
"""Architectures without attention blocks (`llm_arch_is_recurrent`,
src/llama-arch.cpp:1071-1083)."""
BOTH_IN_EVERY_BLOCK = frozenset({"falcon-h1"})
"""Architectures with attention and recurrence in every block (src/llama-model.cpp:2674-2676)."""
TRUNK_FILTERED = frozenset({"qwen3next", "qwen35", "qwen35moe"})
"""Hybrids whose caches leave MTP blocks out (src/llama-model.cpp:2684-2690)."""
NOT_MODELLED = frozenset(
    {
        "deepseek32",  # a second cache, of the keys of indexers
        "deepseek4",
        "dots3note",
        "glm-dsa",
        "glm5-next",
        "graniteswitch",  # a router block of its own
        "hy_v4",
        "minimax-m3",
        "qwen4exp",
    }
)
"""Architectures whose caches hold more than keys and values, or have sizes of another rule."""
PER_BLOCK = ("attention.head_count", "attention.head_count_kv", "feed_forward_length")
"""Keys that may be arrays of one element a block."""
MLA = frozenset({"bailingmoe3", "deepseek2", "kimi-k3", "kimi-linear", "mistral4"})
"""Architectures that read `attention.key_length_mla`: with it there is a K cache and no V cache
(`is_mla`, src/llama-hparams.cpp:308; src/llama-kv-cache.cpp:220-221)."""
BUILT_IN_WINDOWS = {"llama4": 8192, "smallthinker": 4096}
"""Sliding windows in tokens that no metadata changes
(src/models/llama4.cpp:14, smallthinker.cpp:8)."""


@dataclass(frozen=True)
class BlockCache:
    """The cache of one block."""

    n_key: int = 0
    """Elements of the K cache for each token."""
    n_value: int = 0
    """Elements of the V cache for each token."""
    window: int = 0
    """Size of the sliding window in tokens; 0 for a cache of the whole context."""
    n_state: int = 0
    """F32 elements of recurrent state for each sequence, independent of its length."""


def block_caches(model: Model) -> tuple[BlockCache, ...] | None:
    """The cache of each block; None where this version does not know the rule."""
    name = model.header.architecture or ""
    try:
        rules = find_architecture(name).rules
    except RefusedError:
        return None
    if not _is_modelled(model, name):
        return None
    if name in NO_CACHE or (find_architecture(name).is_encoder and name not in CACHING):
        return (BlockCache(),) * model.n_blocks
    labels = [{rule.label(model, n) for rule in rules} for n in range(model.n_blocks)]
    is_hybrid = any("recurrent" in found for found in labels) or name in BOTH_IN_EVERY_BLOCK
    if is_hybrid and model.n_mtp and name not in TRUNK_FILTERED:
        return None
    return tuple(_cache_of(model, name, n, found) for n, found in enumerate(labels))


GEMMA3N_OWN_KV = 20
"""Number of blocks with KV of their own; later ones use that of the last two
(src/models/gemma3n.cpp:7)."""


def _is_modelled(model: Model, name: str) -> bool:
    if any(isinstance(rule, Refused) for rule in find_architecture(name).rules):
        return False
    try:
        for key in PER_BLOCK:
            per_block(model, key)
    except RefusedError:
        return False
    loops = model.number("num_loops", 1) > 1  # nanbeige: a cache for every round
    windowed_by_count = name == "exaone4" and model.n_trunk == 64  # src/models/exaone4.cpp:4-9
    return name not in NOT_MODELLED and not loops and not windowed_by_count


def _cache_of(model: Model, name: str, block: int, labels: set[str]) -> BlockCache:
    shares = "shared KV" in labels or (name == "gemma3n" and block >= GEMMA3N_OWN_KV)
    if block >= model.n_trunk or shares or _is_ffn(model, name, block):
        return BlockCache()
    if name in RECURRENT or "recurrent" in labels:
        return BlockCache(n_state=_n_state(model))
    window = _window(model, name) if "sliding" in labels or name == "lfm2" else 0
    suffix = "_swa" if window else ""
    n_heads = _n_kv_heads(model, block)
    has_values = name not in MLA or not model.number("attention.key_length_mla")
    return BlockCache(
        n_key=n_heads * _head_size(model, "key", suffix),
        n_value=n_heads * _head_size(model, "value", suffix) if has_values else 0,
        window=window,
        n_state=_n_state(model) if name in BOTH_IN_EVERY_BLOCK else 0,
    )


def _is_ffn(model: Model, name: str, block: int) -> bool:
    """Whether the block is an FFN alone (src/llama-model.cpp:2677-2683)."""
    return name.startswith("nemotron_h") and per_block(model, "feed_forward_length")[block] > 0


def _window(model: Model, name: str) -> int:
    return BUILT_IN_WINDOWS.get(name, model.number("attention.sliding_window"))


def _n_kv_heads(model: Model, block: int) -> int:
    """`n_head_kv`; the number of query heads where it is absent (src/llama-model.cpp:1401-1404)."""
    has_own = model.pair("attention.head_count_kv") is not None
    return per_block(model, f"attention.head_count{'_kv' * has_own}")[block]


def _head_size(model: Model, what: str, suffix: str) -> int:
    """Size of a head of keys or of values, in elements (src/llama-model.cpp:1436-1470)."""
    n_heads = per_block(model, "attention.head_count")[0]
    default = model.number("embedding_length") // n_heads if n_heads else 0
    full = model.number(f"attention.{what}_length", default)
    return model.number(f"attention.{what}_length{suffix}", full)


def _n_state(model: Model) -> int:
    """Elements of recurrent state: `n_embd_r` + `n_embd_s` (src/llama-hparams.cpp:186-244)."""
    n_embd = model.number("embedding_length")
    n_conv = max(model.number("ssm.conv_kernel") - 1, 0)
    wkv, kda = model.number("wkv.head_size"), model.number("kda.head_dim")
    if wkv:
        return model.number("token_shift_count", 2) * n_embd + n_embd * wkv
    if model.number("shortconv.l_cache"):
        return n_embd * (model.number("shortconv.l_cache") - 1)
    if kda:
        n_inner = per_block(model, "attention.head_count")[0] * kda
        return 3 * (n_conv or 3) * n_inner + kda * n_inner
    n_inner, n_state = model.number("ssm.inner_size"), model.number("ssm.state_size")
    n_conv_rows = n_inner + 2 * model.number("ssm.group_count") * n_state
    return n_conv * n_conv_rows + n_state * n_inner
