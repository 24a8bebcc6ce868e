"""Architectures whose blocks can have strengths, and factors of single weights, by scales.

llama.cpp loads an optional `.scale` tensor beside a weight of any architecture
(src/llama-model.cpp:1633 and after, of 2026-10-01), but the graph of the architecture has to
multiply the product of the weight by it. Many graphs ignore the scale of one of these weights, and
in others a norm or a factor follows the product. Those listed here multiply all that a block adds
to the residual stream: in each, weights multiplied by powers of two give the same logits to the
bit, and a block with the strength 0 gives the logits of a path without it. Nearly all graphs make
queries and keys in one place (`build_qkv`, src/llama-graph.cpp:1703), which multiplies by the
scales of both and then adds their biases.
"""

from __future__ import annotations

LAST_WEIGHTS = ("attn_output", "ffn_down", "ffn_down_exps", "ffn_down_shexp", "ssm_out")
"""Weights whose products are added to the residual stream, by their names within a block. The
scale of `ffn_down_exps` has a number for each expert, the others have one."""

EXACT = frozenset(
    {
        *("bitnet", "cohere2", "cohere2moe", "deepseek32", "dots3note", "glm-dsa", "hy_v3"),
        *("llama", "llama-embed", "mamba", "mamba2", "mellum", "mistral3", "nanbeige"),
        *("nemotron_h", "nemotron_h_moe", "qwen3", "qwen35", "qwen35moe", "qwen3moe"),
    }
)
"""Architectures in which the scales of these weights suffice for a strength, and the scale of each
for a factor of that weight alone."""

QUERIES_AND_KEYS = ("attn_q", "attn_k")
"""Weights of queries and keys, by their names within a block. Their scales have one number."""

EXACT_QUERIES_AND_KEYS = frozenset(
    {
        *("afmoe", "apertus", "arcee", "arctic", "baichuan", "bailingmoe", "bert", "bitnet"),
        *("chameleon", "chatglm", "codeshell", "cohere2", "cohere2moe", "command-r", "deci"),
        *("deepseek", "deepseek2-ocr", "dots1", "dream", "ernie4_5", "ernie4_5-moe", "eurobert"),
        *("exaone", "exaone-moe", "exaone4", "falcon-h1", "gemma", "gemma-embedding", "gemma2"),
        *("gemma3", "gemma4", "glm4", "glm4moe", "gpt-oss", "granite", "granite_swa"),
        *("granitehybrid", "granitemoe", "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe"),
        *("hunyuan_vl", "hy_v3", "internlm2", "jais2", "jamba", "jina-bert-v2", "laguna"),
        *("lfm2", "lfm2moe", "llada", "llada-moe", "llama", "llama-embed", "llama4"),
        *("maincoder", "maple", "mellum", "minicpm", "minimax-01", "minimax-m2", "minimax-m3"),
        *("mistral3", "muse-glimmer", "nanbeige", "nemotron", "nemotron_h", "nemotron_h_moe"),
        *("olmo", "olmo2", "olmoe", "orion", "paddleocr", "pangu-embedded", "phi2", "phi3"),
        *("phimoe", "plamo", "pockettts", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen35"),
        *("qwen35moe", "qwen3moe", "qwen3next", "qwen3tts", "qwen3vl", "qwen3vlmoe", "qwen4exp"),
        *("refact", "rnd1", "seed_oss", "smallthinker", "smollm3", "spark2_5", "stablelm"),
        *("starcoder2", "step35", "talkie", "xverse"),
    }
)
"""Architectures in which these scales do what multiplied weights and biases do, to the bit."""
