"""Tensors outside blocks: those that llama.cpp asks for, and a note of others.

llama.cpp loads no file with a tensor that it does not ask for (`done_getting_tensors`,
src/llama-model-loader.cpp).
"""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.rules.block_names import block_of

KNOWN = (
    *("a.rvq.codebook", "altup_proj", "altup_unembd_proj", "cls", "conf_proj", "conv1d", "d2t"),
    *("dense_2", "dense_3", "fc", "hrm.z_l_init", "markov_w1", "markov_w2"),
    *("masked_embd_centroids", "masked_embd_ordering", "mm.a.code_embd", "output"),
    *("output_hc_base", "output_hc_down", "output_hc_fn", "output_hc_norm", "output_hc_scale"),
    *("output_hc_up", "output_norm", "output_res_score", "per_layer_model_proj"),
    *("per_layer_proj_norm", "per_layer_token_embd", "position_embd", "rope_factors_long"),
    *("rope_factors_short", "rope_freqs", "selector_hidden", "selector_predecessor"),
    *("selector_successor", "token_embd", "token_embd_norm", "token_types"),
    *("convnext", "dec", "enc", "nextn", "posnet"),
)
"""What their names begin with, up to a point (`LLM_TENSOR_NAMES`, src/llama-arch.cpp)."""
_STARTS = tuple(f"{known}." for known in KNOWN)


def unknown_tensor_notes(header: Header) -> Iterator[str]:
    """A note of tensors that no model of llama.cpp has, if there are any."""
    names = [tensor.name for tensor in header.tensors if _is_unknown(tensor.name)]
    if names:
        others = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        yield (
            "the source has tensors that no model of llama.cpp of 2026-10-01 has "
            f"({quoted(names[0])}{others}): llama.cpp loads neither it nor the new file, unless "
            "another version asks for them"
        )


def _is_unknown(name: str) -> bool:
    return block_of(name) is None and not name.startswith(_STARTS) and name not in KNOWN
