"""Where the residual stream is in llama.cpp's graph of each architecture.

A block's output is the node `l_out-<block>`, and block 0 is fed by what its first weight is applied
to, but for the architectures below. Each is what made routing equal a written file to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ggufsurgeon.architectures.table import ARCHITECTURES


@dataclass(frozen=True)
class ResidualNodes:
    """Names of nodes."""

    output: str = "l_out"
    """`<output>-<block>`; empty where it has no such name, and is what the next block is fed."""
    first_input: str = ""
    """What feeds block 0; empty to be found."""
    first_input_feeds_more: bool = False
    """Later blocks read it too, so nothing else can be put in its place."""
    kept: str = ""
    """Is made of what feeds block 0, and must stay when something else is put in its place."""
    token_dim: int = 1
    """The dimension of the tokens, in llama.cpp's order."""


FOUND = ResidualNodes("")
STREAMS = ResidualNodes("l_last", "hc_init", token_dim=2)
"""Several residual streams."""

RESIDUAL_NODES: Mapping[str, ResidualNodes] = {
    "deepseek4": STREAMS,
    "gemma4": ResidualNodes(kept="inp_per_layer"),
    "glm5-next": ResidualNodes(token_dim=2),
    "hy_v4": ResidualNodes(first_input="hc_init", token_dim=2),
    "nemotron_h": FOUND,  # its l_out is the output of the FFN alone
    "nemotron_h_moe": FOUND,
    "olmo": ResidualNodes(first_input="embd"),  # its norms have no weights
    "plamo2": FOUND,
    "qwen4exp": STREAMS,
    "step35": FOUND,
    "talkie": ResidualNodes(first_input_feeds_more=True),
    **{name: FOUND for name, row in ARCHITECTURES.items() if row.is_encoder},
}


def residual_nodes(architecture: str) -> ResidualNodes:
    """The nodes of an architecture."""
    return RESIDUAL_NODES.get(architecture, ResidualNodes())
