"""Tensors outside the blocks: which run before the first block, and which behind the last.

By their names in llama.cpp (`LLM_TENSOR_NAMES`, src/llama-arch.cpp).
"""

from __future__ import annotations

from ggufsurgeon.architectures.table import ARCHITECTURES

EMBEDDINGS, OUTPUT = "token_embd.weight", "output.weight"
BEFORE = ("position_embd", "token_embd", "token_embd_norm", "token_types")
"""What makes the input of block 0, up to the first point of the name."""
BEHIND = (
    *("cls", "dense_2", "dense_3", "output", "output_hc_base", "output_hc_down", "output_hc_fn"),
    *("output_hc_norm", "output_hc_scale", "output_hc_up", "output_norm", "output_res_score"),
)
"""What is made of the output of the last block."""
BEHIND_OF_ENCODERS = "enc.output_norm."
MISNAMED_OUTPUT_NORM = frozenset({"lfm2", "lfm2moe"})
"""Architectures whose output norm has the name of a norm of embeddings
(`LLM_TENSOR_OUTPUT_NORM_LFM2`, src/llama-arch.cpp)."""
ALWAYS_TIED = frozenset(
    {"bitnet", "cohere2", "command-r", "gemma", "gemma2", "openelm", "plm", "pockettts"}
)
"""Architectures whose graphs never read an output head of their own, nor load a file that has one:
their loaders under src/models ask for no `output.weight`."""


def is_before(name: str, architecture: str) -> bool:
    """Whether a tensor outside the blocks runs before the first block."""
    return name.partition(".")[0] in BEFORE and not _is_misnamed(name, architecture)


def is_behind(name: str, architecture: str) -> bool:
    """Whether a tensor outside the blocks runs behind the last block."""
    is_named_so = name.partition(".")[0] in BEHIND or name.startswith(BEHIND_OF_ENCODERS)
    return is_named_so or _is_misnamed(name, architecture)


def _is_misnamed(name: str, architecture: str) -> bool:
    return architecture in MISNAMED_OUTPUT_NORM and name == "token_embd_norm.weight"


def needs_own_output(architecture: str) -> bool:
    """Whether a model needs `output.weight` where its output is not its embeddings.

    Encoders have no logits, so they have no use for it.
    """
    return not ARCHITECTURES[architecture].is_encoder
