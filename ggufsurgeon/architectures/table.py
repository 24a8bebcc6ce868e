"""Which rules each architecture of llama.cpp has. One that is not here is refused by name.

The rows of this version are the architectures in which nothing but the general per-layer arrays
depends on the layer index. `graph` is the file under llama.cpp's `src/models` in which that was
read: no test of the layer index or the layer count in its hyperparameters, tensors or graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ggufsurgeon.architectures.rules import BlockCount, NotYet, PerLayerArray, Rule
from ggufsurgeon.errors import RefusedError

GENERAL_RULES: tuple[Rule, ...] = (
    BlockCount(),
    PerLayerArray("attention.head_count"),  # src/llama-model.cpp:1396
    PerLayerArray("attention.head_count_kv"),  # src/llama-model.cpp:1404
    PerLayerArray("feed_forward_length"),  # src/llama-model.cpp:1395
    PerLayerArray("expert_used_count"),  # src/llama-model.cpp:1333
    PerLayerArray("expert_feed_forward_length"),
    PerLayerArray("swiglu_clamp_exp"),
    PerLayerArray("swiglu_clamp_shexp"),
    NotYet("nextn_predict_layers", "MTP blocks"),  # src/llama-model.cpp:1329
)
"""Rules of every architecture."""

UNINDEXED_ARRAYS = frozenset(
    {
        "rope.dimension_sections",  # always 4 elements
        "classifier.output_labels",
        "deepstack_mapping",  # read by granite alone, which is not in the table
    }
)
"""Arrays that no architecture of the table reads by layer."""


@dataclass(frozen=True)
class Architecture:
    """One row: an architecture and the rules it has besides the general ones."""

    name: str
    graph: str
    own_rules: tuple[Rule, ...] = ()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All its rules, in the order in which they are applied."""
        return GENERAL_RULES + self.own_rules

    @property
    def known_arrays(self) -> frozenset[str]:
        """Keys, without prefix, of the arrays that may be in a file."""
        return UNINDEXED_ARRAYS | {rule.key for rule in self.rules}


IMAGE_FEATURES = NotYet("n_deepstack_layers", "image features added behind its first blocks")

_ROWS = (
    Architecture("arcee", "arcee.cpp"),
    Architecture("arctic", "arctic.cpp"),
    Architecture("bailingmoe", "bailingmoe.cpp"),
    Architecture("bloom", "bloom.cpp"),
    Architecture("chatglm", "chatglm.cpp"),
    Architecture("codeshell", "codeshell.cpp"),
    Architecture("cogvlm", "cogvlm.cpp"),
    Architecture("dbrx", "dbrx.cpp"),
    Architecture("dream", "dream.cpp"),
    Architecture("ernie4_5", "ernie4-5.cpp"),
    Architecture("exaone", "exaone.cpp"),
    Architecture("falcon", "falcon.cpp"),
    Architecture("falcon-h1", "falcon-h1.cpp"),
    Architecture("gemma", "gemma.cpp"),
    Architecture("glm4", "glm4.cpp"),
    Architecture("gpt2", "gpt2.cpp"),
    Architecture("gptneox", "gptneox.cpp"),
    Architecture("granitemoe", "granite-moe.cpp"),
    Architecture("grok", "grok.cpp"),
    Architecture("grovemoe", "grovemoe.cpp"),
    Architecture("hunyuan-dense", "hunyuan-dense.cpp"),
    Architecture("hunyuan-moe", "hunyuan-moe.cpp"),
    Architecture("hunyuan_vl", "hunyuan-vl.cpp"),
    Architecture("hy_v3", "hy-v3.cpp"),
    Architecture("internlm2", "internlm2.cpp"),
    Architecture("jais", "jais.cpp"),
    Architecture("jais2", "jais2.cpp"),
    Architecture("llada", "llada.cpp"),
    Architecture("llada-moe", "llada-moe.cpp"),
    Architecture("llama", "llama.cpp"),
    Architecture("maincoder", "maincoder.cpp"),
    Architecture("mamba", "mamba.cpp"),
    Architecture("mamba2", "mamba2.cpp"),
    Architecture("minimax-m2", "minimax-m2.cpp"),
    Architecture("mistral3", "mistral3.cpp"),
    Architecture("mpt", "mpt.cpp"),
    Architecture(
        "nanbeige",
        "nanbeige.cpp",  # replays all blocks num_loops times (13-31), each with its own cache
        (NotYet("num_loops", "loops over all its blocks", off=1),),
    ),
    Architecture("nemotron", "nemotron.cpp"),
    Architecture("olmo", "olmo.cpp"),
    Architecture("olmoe", "olmoe.cpp"),
    Architecture("orion", "orion.cpp"),
    Architecture("paddleocr", "paddleocr.cpp"),
    Architecture("pangu-embedded", "pangu-embed.cpp"),
    Architecture("phi2", "phi2.cpp"),
    Architecture("phi3", "phi3.cpp"),
    Architecture("phimoe", "phimoe.cpp"),
    Architecture("plamo", "plamo.cpp"),
    Architecture("pockettts", "pockettts.cpp"),
    Architecture("qwen", "qwen.cpp"),
    Architecture("qwen2", "qwen2.cpp"),
    Architecture("qwen2moe", "qwen2moe.cpp"),
    Architecture("qwen2vl", "qwen2vl.cpp"),
    Architecture("qwen3", "qwen3.cpp"),
    Architecture("qwen3moe", "qwen3moe.cpp"),
    Architecture("qwen3tts", "qwen3vl.cpp", (IMAGE_FEATURES,)),
    Architecture("qwen3vl", "qwen3vl.cpp", (IMAGE_FEATURES,)),
    Architecture("qwen3vlmoe", "qwen3vlmoe.cpp", (IMAGE_FEATURES,)),
    Architecture("refact", "refact.cpp"),
    Architecture("rnd1", "rnd1.cpp"),
    Architecture("seed_oss", "seed-oss.cpp"),
    Architecture("stablelm", "stablelm.cpp"),
    Architecture("starcoder", "starcoder.cpp"),
    Architecture("starcoder2", "starcoder2.cpp"),
    Architecture("talkie", "talkie.cpp"),
    Architecture("xverse", "xverse.cpp"),
    # By reading alone: no model of these has been run.
    Architecture("bitnet", "bitnet.cpp"),
    Architecture("chameleon", "chameleon.cpp"),
    Architecture("graniteswitch", "granite-switch.cpp"),
    Architecture("llama-embed", "llama-embed.cpp"),
    Architecture("plm", "plm.cpp"),
    Architecture("rwkv6qwen2", "rwkv6qwen2.cpp"),
)

ARCHITECTURES: Mapping[str, Architecture] = {row.name: row for row in _ROWS}


def find_architecture(name: str | None) -> Architecture:
    """The row of `name`. Raises RefusedError when there is none."""
    row = ARCHITECTURES.get(name or "")
    if row is None:
        raise RefusedError(
            f"architecture {name!r} is not in this version's table: what in its files depends on "
            "the layer index is not known here, so no file could be promised to be exact",
            hint=f"Known: {', '.join(ARCHITECTURES)}.",
        )
    return row
