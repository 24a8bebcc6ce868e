"""Architectures whose blocks can have strengths, by scales of the weights that come last in them.

llama.cpp loads an optional `.scale` tensor beside a weight of any architecture
(src/llama-model.cpp:1633 and after, of 2026-10-01), but the graph of the architecture has to
multiply the product of the weight by it. Many graphs ignore the scale of one of these weights, and
in others a norm or a factor follows the product. Those listed here multiply all that a block adds
to the residual stream: in each, weights multiplied by powers of two give the same logits to the
bit, and a block with the strength 0 gives the logits of a path without it.
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
"""Architectures in which the scales of these weights suffice for a strength."""
