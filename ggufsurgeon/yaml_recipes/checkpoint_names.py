"""Names of a block's weights in the checkpoint that a file was converted from.

Names are those of mergekit 0.1.5 (llama.json, qwen2.json and their like in
mergekit/_data/architectures, and mergekit/architecture/moe_defs.py for experts).
"""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.container.headers.header import Header

MOST_EXPERTS = 1024
"""llama.cpp runs no more (`LLAMA_MAX_EXPERTS`, src/llama-hparams.h:12)."""

ATTENTION = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
"""The name in a GGUF, by the name in a checkpoint."""
FFN = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
ROUTERS = {"mlp.gate": "ffn_gate_inp", "block_sparse_moe.gate": "ffn_gate_inp"}
NORMS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
EXPERTS = {
    "mlp.experts.{}.gate_proj": "ffn_gate_exps",
    "mlp.experts.{}.up_proj": "ffn_up_exps",
    "mlp.experts.{}.down_proj": "ffn_down_exps",
}
MIXTRAL_EXPERTS = {
    "block_sparse_moe.experts.{}.w1": "ffn_gate_exps",
    "block_sparse_moe.experts.{}.w3": "ffn_up_exps",
    "block_sparse_moe.experts.{}.w2": "ffn_down_exps",
}
EXPERTS_OF = {"llama": MIXTRAL_EXPERTS, "qwen3moe": EXPERTS}
"""Names of experts by architecture, for architectures that can have experts."""
NAMED_SO = ("cohere2", "llama", "mistral3", "qwen2", "qwen3", "qwen3moe")
"""Architectures whose checkpoints have these names, and whose weights can have factors."""


class CheckpointNames:
    """The names that weights and biases of the blocks of a file have in its checkpoint."""

    def __init__(self, header: Header) -> None:
        self.architecture = header.architecture or ""
        self._dims = {tensor.name: tensor.dims for tensor in header.tensors}

    @property
    def are_known(self) -> bool:
        """Whether the names are known for this architecture."""
        return self.architecture in NAMED_SO

    def of_block(self, block: int) -> Iterator[tuple[str, str]]:
        """The name of each weight and bias, with that of the weight in a GGUF, such as `attn_q`.

        Where the names of an architecture are not known, those of all known ones.
        """
        for name, weight in self._weights(block):
            whole = f"model.layers.{block}.{name}"
            yield f"{whole}.weight", weight
            if f"blk.{block}.{weight}.bias" in self._dims:
                yield f"{whole}.bias", weight

    def _weights(self, block: int) -> Iterator[tuple[str, str]]:
        yield from (*ATTENTION.items(), *NORMS.items())
        if not self.are_known:
            every = {**FFN, **ROUTERS, **EXPERTS, **MIXTRAL_EXPERTS}
            yield from ((name.format(0), weight) for name, weight in every.items())
            return
        dims = self._dims.get(f"blk.{block}.ffn_down_exps.weight", ())
        n_experts = min(dims[2], MOST_EXPERTS) if len(dims) > 2 else 0
        if not n_experts or self.architecture not in EXPERTS_OF:
            yield from FFN.items()
            return
        yield from ROUTERS.items()
        for name, weight in EXPERTS_OF[self.architecture].items():
            yield from ((name.format(n), weight) for n in range(n_experts))
