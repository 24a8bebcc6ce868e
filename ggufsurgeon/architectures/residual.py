"""Where the residual stream is in llama.cpp's graph of each architecture.

A block's output is the node `l_out-<block>`, and block 0 is fed by the first source that is no
weight of the first node named `...-0`, but for the architectures below. Each is what made routing
equal a written file to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ResidualNodes:
    """Names of nodes; `<output>-<block>`."""

    output: str = "l_out"
    first_input: str = ""
    """What feeds block 0; empty to be found."""
    first_input_feeds_more: bool = False
    """Later blocks read it too, so nothing else can be put in its place."""
    token_dim: int = 1
    """The dimension of the tokens, in llama.cpp's order."""


RESIDUAL_NODES: Mapping[str, ResidualNodes] = {
    "bloom": ResidualNodes(first_input="inp_norm-0"),
    "deepseek4": ResidualNodes("l_last", "hc_init", token_dim=2),
    "exaone4": ResidualNodes(first_input="embd"),
    "glm5-next": ResidualNodes(token_dim=2),
    "hy_v4": ResidualNodes(first_input="hc_init", token_dim=2),
    "nemotron_h": ResidualNodes("nemotron_h_block_out"),
    "nemotron_h_moe": ResidualNodes("nemotron_h_block_out"),
    "olmo2": ResidualNodes(first_input="embd"),
    "plamo2": ResidualNodes("ffn_residual"),
    "qwen4exp": ResidualNodes("l_last", "hc_init", token_dim=2),
    "talkie": ResidualNodes(first_input_feeds_more=True),
}


def residual_nodes(architecture: str) -> ResidualNodes:
    """The nodes of an architecture."""
    return RESIDUAL_NODES.get(architecture, ResidualNodes())
