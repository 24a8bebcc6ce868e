"""Which rules each architecture of llama.cpp has. One that is not here is refused by name.

Read in llama.cpp of 2026-10-01, as llama-cpp-python 0.3.36 has it. `graph` is the file of the graph
under `src/models`; numbers in comments are lines of it. The lines where the keys are read are in
sources.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ggufsurgeon.architectures.model import Rule
from ggufsurgeon.architectures.vocabulary.arrays import ImageStreams, OneBlockList, PerLayerArray
from ggufsurgeon.architectures.vocabulary.compensation import QueryScale
from ggufsurgeon.architectures.vocabulary.counts import (
    BlockCount,
    CountSelectsMaths,
    LiteModel,
    PrefixCount,
    ResidualScale,
    SharedKvSuffix,
)
from ggufsurgeon.architectures.vocabulary.crossing import (
    PrefixStays,
    ResidualCheckpoints,
    SharedIndexers,
)
from ggufsurgeon.architectures.vocabulary.kinds import (
    HEAD_SIZES,
    HybridKinds,
    RecurrentLayers,
    SlidingWindow,
)
from ggufsurgeon.architectures.vocabulary.periods import FixedPeriod, MoeEvery
from ggufsurgeon.architectures.vocabulary.refusals import NotYet, Refused
from ggufsurgeon.architectures.vocabulary.sizes import HeadCounts
from ggufsurgeon.architectures.vocabulary.slices import PerLayerSlices
from ggufsurgeon.architectures.vocabulary.tensors import BorrowedFromBlockZero, OnlyBlockZeroMayLack
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError

GENERAL_RULES: tuple[Rule, ...] = (
    BlockCount(),
    PerLayerArray("attention.head_count", reads="first"),  # src/llama-model.cpp:1396
    PerLayerArray("attention.head_count_kv", reads="both"),  # src/llama-model.cpp:1404
    PerLayerArray("feed_forward_length", reads="first"),  # src/llama-model.cpp:1395
    PerLayerArray("expert_used_count", reads="both"),  # src/llama-model.cpp:1333
    PerLayerArray("expert_feed_forward_length", reads="first"),
    PerLayerArray("swiglu_clamp_exp"),
    PerLayerArray("swiglu_clamp_shexp"),
)
"""Rules of every architecture; its own rule about the same key replaces one."""

UNINDEXED_ARRAYS = frozenset(
    {
        "rope.dimension_sections",  # always 4 elements
        "classifier.output_labels",
        "adapters.token_ids_activate",
        "adapters.token_ids_substitute",
        "ple.layer_multipliers",
        "ple.head_offsets",
        "ple.head_vocab_sizes",
    }
)
"""Arrays that no architecture reads by layer."""

UNREAD_ARRAYS = frozenset(
    {
        "attention.recurrent_layers",
        "attention.compress_ratios",
        "attention.sliding_window_pattern",
        "deepstack_mapping",
    }
)
"""Arrays that some architectures read by layer, and those without a rule for them never."""

NEEDS_MTP_TENSORS = frozenset(
    {
        *("bailingmoe2", "exaone-moe", "exaone4", "glm4", "glm5-next"),
        *("nemotron_h", "nemotron_h_moe", "qwen35", "qwen35moe", "qwen3next"),
    }
)
"""They load no file that counts MTP blocks and lacks their tensors: `TENSOR_SKIP` alone asks for
them all the same (src/llama-model-loader.cpp:1155-1186). All others leave MTP blocks out, or have
`trunk_only` (src/models/glm4-moe.cpp:34-39)."""

MTP_BY_TENSOR = frozenset({"deepseek4"})
"""They count MTP blocks only if the first of them is there (src/models/deepseek4.cpp:20-26)."""

# Which arrays' elements a graph reads: each block's own, or block 0's, or both.
OWN_ROPE = ("rope.dimension_count",)
OWN_KV = (PerLayerArray("attention.head_count_kv"),)
OWN_HEADS = (HeadCounts(), *OWN_KV)
OWN_HEADS_IF_KV = (HeadCounts(unread_without_kv=True), *OWN_KV)
OWN_EXPERTS = (PerLayerArray("expert_feed_forward_length"),)
OWN_FFN = (PerLayerArray("feed_forward_length"),)
BOTH_HEADS = (PerLayerArray("attention.head_count", reads="both"),)
BOTH_FFN = (PerLayerArray("feed_forward_length", reads="both"),)
DENSE_FIRST = PrefixCount("leading_dense_block_count", "dense", "MoE")
IMAGE_FEATURES = PrefixStays("image features are added behind them", n_key="n_deepstack_layers")
DEEPSTACK = ImageStreams()
INDEXER_TYPES = PerLayerArray("attention.indexer.types", trunk_only=True)
COMPRESS_RATIOS = PerLayerArray("attention.compress_ratios", may_be_longer=True, keeps_values=True)
PER_LAYER_EMBEDDINGS = PerLayerSlices(
    {"per_layer_token_embd.weight": 0, "per_layer_model_proj.weight": 1}
)
NO_ROPE = "NoPE"
ROUNDED = "multiplying weights, which could make up for it, rounds them: that is not exact"
DRAFT = Refused("a draft of another model, whose blocks it names; patch that model instead")


MAX_BLOCKS = 512
"""`LLAMA_MAX_LAYERS` (src/llama-hparams.h:11); llama.cpp aborts the process beyond."""


@dataclass(frozen=True)
class Architecture:
    """One row: an architecture and the rules it has besides the general ones."""

    name: str
    graph: str
    own_rules: tuple[Rule, ...] = ()
    max_blocks: int = MAX_BLOCKS
    is_encoder: bool = False
    """Its graph ends in embeddings: it has no logits, and predicts no text."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All its rules, in the order in which they are applied."""
        own_keys = {rule.key for rule in self.own_rules}
        return (*(rule for rule in GENERAL_RULES if rule.key not in own_keys), *self.own_rules)

    @property
    def known_arrays(self) -> frozenset[str]:
        """Keys, without prefix, of the arrays that may be in a file."""
        return UNINDEXED_ARRAYS | UNREAD_ARRAYS | {rule.key for rule in self.rules}

    @property
    def sliced_dims(self) -> Mapping[str, int]:
        """Tensors that hold a slice for each block of the trunk, and in which dimension."""
        rules = (rule for rule in self.own_rules if isinstance(rule, PerLayerSlices))
        return {name: dim for rule in rules for name, dim in rule.dims.items()}


def _plain(*names: str) -> tuple[Architecture, ...]:
    """Rows without rules of their own, in files of their own names."""
    return tuple(Architecture(name, f"{name.replace('_', '-')}.cpp") for name in names)


_ROWS = (
    # Nothing but the general arrays depends on the layer index.
    *_plain("arcee", "arctic", "bailingmoe", "bloom", "chatglm", "codeshell", "cogvlm", "dbrx"),
    *_plain("dream", "ernie4_5", "exaone", "falcon", "falcon-h1", "gemma", "glm4", "gpt2"),
    *_plain("gptneox", "grok", "grovemoe", "hunyuan-dense", "hunyuan_vl", "hy_v3"),
    *_plain("internlm2", "jais", "jais2", "llada", "llada-moe", "llama"),
    *_plain("maincoder", "mamba", "mamba2", "minimax-m2", "mistral3", "mpt", "nemotron", "olmo"),
    *_plain("olmoe", "orion", "paddleocr", "phi2", "phi3", "phimoe", "plamo"),
    *_plain("pockettts", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "refact"),
    *_plain("rnd1", "seed_oss", "stablelm", "starcoder"),
    *_plain("starcoder2", "talkie", "xverse"),
    Architecture("pangu-embedded", "pangu-embed.cpp"),
    *_plain("bitnet", "chameleon", "plm", "rwkv6qwen2"),
    Architecture("llama-embed", "llama-embed.cpp", is_encoder=True),
    # More arrays with one element a block.
    Architecture("granite", "granite.cpp", (DEEPSTACK, *BOTH_HEADS)),
    Architecture("granitemoe", "granite-moe.cpp", BOTH_HEADS),
    Architecture(
        "graniteswitch",
        "granite-switch.cpp",  # its router takes a layer of llama.cpp's, 62-68
        BOTH_HEADS,
        max_blocks=MAX_BLOCKS - 1,
    ),
    Architecture("deci", "deci.cpp", (*OWN_HEADS, *OWN_FFN)),
    Architecture("openelm", "openelm.cpp", (*OWN_HEADS, *OWN_FFN)),
    Architecture("hunyuan-moe", "hunyuan-moe.cpp", BOTH_FFN),
    Architecture(
        "apertus",
        "apertus.cpp",  # keys without a prefix, src/llama-arch.cpp:428-431
        tuple(
            PerLayerArray(f"xielu.{name}", trunk_only=True, prefixed=False)
            for name in ("alpha_n", "alpha_p", "beta", "eps")
        ),
    ),
    # Sliding windows.
    Architecture("cohere2", "cohere2.cpp", (SlidingWindow(4),)),
    Architecture("gpt-oss", "openai-moe.cpp", (SlidingWindow(2),)),
    Architecture("muse-glimmer", "muse-glimmer.cpp", (SlidingWindow(4),)),
    Architecture("mellum", "mellum.cpp", (SlidingWindow(4, read="if_set"),)),
    Architecture("olmo2", "olmo2.cpp", (SlidingWindow(4, read="if_set"),)),
    Architecture("plamo3", "plamo3.cpp", (SlidingWindow(8, read="if_set"), *OWN_HEADS, *OWN_FFN)),
    Architecture("maple", "maple.cpp", (SlidingWindow(None),)),
    Architecture("mimo2", "mimo2.cpp", (SlidingWindow(None), *OWN_HEADS)),
    Architecture("spark2_5", "spark2-5.cpp", (SlidingWindow(None, own_sizes=OWN_ROPE), *OWN_HEADS)),
    Architecture("step35", "step35.cpp", (SlidingWindow(None, own_sizes=OWN_ROPE), *OWN_HEADS)),
    Architecture(
        "granite_swa",
        "granite-swa.cpp",
        (
            SlidingWindow(None),
            PerLayerArray("attention.rope_pattern", may_be_longer=True),
            DEEPSTACK,
            *BOTH_HEADS,
        ),
    ),
    Architecture(
        "gemma2",
        "gemma2.cpp",
        (
            SlidingWindow(2),
            CountSelectsMaths(
                (46,), "another query scale, as of gemma2-27B", beyond_weights=ROUNDED
            ),
        ),
    ),
    Architecture(
        "gemma3",
        "gemma3.cpp",
        (
            SlidingWindow(6, read="if_set"),
            QueryScale((62,), "another query scale, as of gemma3-27B"),
        ),
    ),
    Architecture(
        "gemma4",
        "gemma4.cpp",  # rope_freqs.weight is the first global block's, 94-97
        (
            SlidingWindow(None, needs_global=True, own_sizes=HEAD_SIZES),
            *OWN_HEADS,
            *OWN_FFN,
            SharedKvSuffix(),
            PER_LAYER_EMBEDDINGS,
        ),
    ),
    Architecture(
        "gemma3n",
        "gemma3n.cpp",  # 7, 217; all others use the KV of blocks 18 and 19, llama-model.cpp:2785
        (
            SlidingWindow(5),
            PrefixStays(
                "by their index alone the first 10 are sparse, and the first 20 own their KV, "
                "of which all others use the last two",
                n=20,
            ),
            PER_LAYER_EMBEDDINGS,
            # Written by converters, read by nobody.
            PerLayerArray("activation_sparsity_scale"),
        ),
    ),
    Architecture(
        "exaone4",
        "exaone4.cpp",  # 4-12, 111
        (
            CountSelectsMaths((64,), "sliding windows and NoPE as in EXAONE 4 32B"),
            SlidingWindow(4, only_at=64),
        ),
    ),
    # A prefix of dense blocks before MoE.
    Architecture("deepseek", "deepseek.cpp", (DENSE_FIRST,)),
    Architecture("deepseek2", "deepseek2.cpp", (DENSE_FIRST, LiteModel())),
    Architecture("deepseek2-ocr", "deepseek2ocr.cpp", (DENSE_FIRST,)),
    Architecture("deepseek32", "deepseek32.cpp", (DENSE_FIRST,)),
    Architecture("mistral4", "mistral4.cpp", (DENSE_FIRST, LiteModel())),
    Architecture("dots1", "dots1.cpp", (DENSE_FIRST,)),
    Architecture("glm4moe", "glm4-moe.cpp", (DENSE_FIRST,)),
    Architecture("bailingmoe2", "bailingmoe2.cpp", (DENSE_FIRST,)),
    Architecture("minimax-m3", "minimax-m3.cpp", (replace(DENSE_FIRST, keeps_rest=True),)),
    Architecture(
        "ernie4_5-moe",
        "ernie4-5-moe.cpp",
        (
            replace(DENSE_FIRST, rest=""),
            FixedPeriod(1, 1, "MoE", period_key="interleave_moe_layer_step"),
        ),
    ),
    Architecture("cohere2moe", "cohere2moe.cpp", (SlidingWindow(4, dense_first=True), DENSE_FIRST)),
    Architecture("exaone-moe", "exaone-moe.cpp", (SlidingWindow(4), DENSE_FIRST)),
    Architecture(
        "laguna",
        "laguna.cpp",
        (SlidingWindow(4, dense_first=True, read="if_set"), DENSE_FIRST, *OWN_HEADS),
    ),
    Architecture(
        "deepseek4",
        "deepseek4.cpp",
        (PrefixCount("hash_layer_count", "routed by token"), COMPRESS_RATIOS),
    ),
    # Top-k that blocks share.
    Architecture("glm-dsa", "glm-dsa.cpp", (DENSE_FIRST, SharedIndexers(), INDEXER_TYPES)),
    Architecture(
        "glm5-next",
        "glm5-next.cpp",
        (
            HybridKinds(),
            *OWN_KV,
            *OWN_EXPERTS,
            DENSE_FIRST,
            SharedIndexers(),
            INDEXER_TYPES,
        ),
    ),
    Architecture("hy_v4", "hy-v4.cpp", (DENSE_FIRST, SharedIndexers(), INDEXER_TYPES)),
    Architecture(
        "dots3note",
        "dots3note.cpp",
        (
            SlidingWindow(None, own_sizes=HEAD_SIZES[:2]),  # its widths are those of MLA, 82-84
            DENSE_FIRST,
            *OWN_HEADS,
            SharedIndexers(),
            PerLayerArray("attention.indexer.types", may_be_longer=True),
        ),
    ),
    # Kinds of block that llama.cpp knows by index alone.
    Architecture("smollm3", "smollm3.cpp", (FixedPeriod(4, 1, NO_ROPE),)),
    Architecture(
        "afmoe",
        "afmoe.cpp",
        (SlidingWindow(4, read="if_set"), FixedPeriod(4, 1, NO_ROPE), DENSE_FIRST),
    ),
    Architecture(
        "smallthinker",
        "smallthinker.cpp",
        (
            SlidingWindow(4, dense_first=True, read="if_set"),
            FixedPeriod(4, 0, NO_ROPE, read="if_set"),
            # 106: as if there were no period
            CountSelectsMaths((4,), "RoPE in every block", read="if_set"),
        ),
    ),
    Architecture(
        "llama4",
        "llama4.cpp",
        (
            SlidingWindow(4, read="unless_zero"),
            FixedPeriod(4, 1, NO_ROPE, read="unless_zero", else_last=True),
            FixedPeriod(1, 1, "MoE", period_key="interleave_moe_layer_step"),
        ),
    ),
    # Recurrent blocks among attention blocks.
    Architecture(
        "kimi-k3", "kimi-k3.cpp", (HybridKinds(), *OWN_KV, DENSE_FIRST, ResidualCheckpoints())
    ),
    Architecture("jamba", "jamba.cpp", (HybridKinds(), *OWN_KV)),
    Architecture("lfm2", "lfm2.cpp", (HybridKinds(), *OWN_KV)),
    Architecture("lfm2moe", "lfm2moe.cpp", (HybridKinds(), *OWN_KV, DENSE_FIRST)),
    Architecture("plamo2", "plamo2.cpp", (HybridKinds(), *OWN_HEADS_IF_KV)),
    Architecture("granitehybrid", "granite-hybrid.cpp", (HybridKinds(), *OWN_HEADS_IF_KV)),
    *(
        Architecture(
            name,
            f"{name.replace('_', '-')}.cpp",  # the MTP graph reads expert_used_count of block 0
            (HybridKinds(has_ffn_blocks=True), *OWN_HEADS_IF_KV, *OWN_FFN, *OWN_EXPERTS),
        )
        for name in ("nemotron_h", "nemotron_h_moe")
    ),
    Architecture("kimi-linear", "kimi-linear.cpp", (HybridKinds(), *OWN_KV, DENSE_FIRST)),
    Architecture("bailingmoe3", "bailingmoe3.cpp", (HybridKinds(), *OWN_KV, DENSE_FIRST)),
    *(Architecture(name, f"{name}.cpp", (RecurrentLayers(4),)) for name in ("qwen35", "qwen35moe")),
    Architecture("qwen3next", "qwen3next.cpp", (RecurrentLayers(4), *BOTH_FFN)),
    Architecture(
        "qwen4exp",
        "qwen4exp.cpp",
        (RecurrentLayers(4), COMPRESS_RATIOS, OneBlockList("ple.layers")),
    ),
    # The number of blocks decides.
    Architecture(
        "command-r",
        "command-r.cpp",
        (CountSelectsMaths((64,), "norms of queries and keys or none", or_more=True),),
    ),
    Architecture("minicpm", "minicpm.cpp", (ResidualScale(), *BOTH_HEADS)),
    Architecture(
        "baichuan", "baichuan.cpp", (CountSelectsMaths((32, 40), "another position encoding"),)
    ),
    Architecture(
        "minicpm3",
        "minicpm3.cpp",
        (CountSelectsMaths((), "another residual scale", every=True, beyond_weights=ROUNDED),),
    ),
    # Block 0 reaches all others.
    *(
        Architecture(
            name,
            f"{name}.cpp",
            (PrefixStays("its values are mixed into those of all other blocks", n=1),),
        )
        for name in ("rwkv7", "arwkv7")
    ),
    # Encoders.
    *(
        Architecture(name, f"{name}.cpp", is_encoder=True)
        for name in ("bert", "eurobert", "jina-bert-v2", "jina-bert-v3", "neo-bert", "nomic-bert")
    ),
    Architecture("nomic-bert-moe", "nomic-bert-moe.cpp", (MoeEvery(),), is_encoder=True),
    Architecture(
        "modern-bert",
        "modern-bert.cpp",
        (
            SlidingWindow(3, dense_first=True, read="if_set", needs_global=True),
            OnlyBlockZeroMayLack("attn_norm.weight"),
        ),
        is_encoder=True,
    ),
    Architecture(
        "gemma-embedding",
        "gemma-embedding.cpp",
        (SlidingWindow(6, needs_global=True),),
        is_encoder=True,
    ),
    Architecture(
        "t5encoder",
        "t5.cpp",
        (BorrowedFromBlockZero("enc.blk.{}.attn_rel_b.weight"),),
        is_encoder=True,
    ),
    # Refused while a feature is on.
    Architecture(
        "nanbeige",
        "nanbeige.cpp",  # replays all blocks num_loops times (13-31), each with its own cache
        (NotYet("num_loops", "loops over all its blocks", off=1),),
    ),
    Architecture(
        "rwkv6",
        "rwkv6.cpp",  # the graph halves the residual every so many blocks, 164
        (
            NotYet(
                "rescale_every_n_layers",
                "weights, quantized ones among them, scaled by the index of their block",
            ),
        ),
    ),
    # No exact file exists, or this version could not prove it.
    *(
        Architecture(name, f"{name}.cpp", (DRAFT,))
        for name in ("dflash", "eagle3", "gemma4-assistant")
    ),
    Architecture("clip", "clip.cpp", (Refused("a projector of images or sound, not a model"),)),
    Architecture("gptj", "models.h", (Refused("llama.cpp has no implementation of it"),)),
    Architecture(
        "hrm_text",
        "hrm-text.cpp",
        (Refused("its blocks are two stacks that run in turn; one cannot change alone"),),
    ),
    Architecture(
        "minimax-01",
        "minimax-01.cpp",
        (
            Refused(
                "the decay of its linear attention is a function of each block's index (288)",
                crosses=False,
            ),
        ),
    ),
    Architecture(
        "t5", "t5.cpp", (Refused("its encoder and decoder are two stacks with paths of their own"),)
    ),
    Architecture(
        "wavtokenizer-dec",
        "wavtokenizer-dec.cpp",
        (Refused("what its blocks are is fixed by index (33, 135)"),),
    ),
    Architecture("qwen3tts", "qwen3vl.cpp", (IMAGE_FEATURES,)),
    Architecture("qwen3vl", "qwen3vl.cpp", (IMAGE_FEATURES,)),
    Architecture("qwen3vlmoe", "qwen3vlmoe.cpp", (IMAGE_FEATURES,)),
)

ARCHITECTURES: Mapping[str, Architecture] = {row.name: row for row in _ROWS}


def find_architecture(name: str | None) -> Architecture:
    """The row of `name`. Raises RefusedError when there is none."""
    row = ARCHITECTURES.get(name or "")
    if row is None:
        raise RefusedError(
            f"architecture {quoted(name)} is not in this version's table: what in its files "
            "depends on the layer index is not known here, so no file could be promised to be "
            "exact",
            hint="docs/architectures.md lists the architectures that are.",
        )
    return row
