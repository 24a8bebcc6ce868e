"""Tiny models and layer paths over them, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from ggufsurgeon.layer_path.path import LayerPath
from tests.models.builders import (
    ARRAY,
    BOOL,
    F32,
    STRING,
    U8,
    U32,
    block_tensors,
    gguf,
    llama_pairs,
    pair,
)

N_BLOCKS = 5
paths = st.lists(st.integers(0, N_BLOCKS - 1), min_size=1, max_size=12).map(LayerPath.of)


@st.composite
def models(draw: st.DrawFn) -> bytes:
    """A tiny model of N_BLOCKS blocks: any alignment, arrays or scalars, odd ends."""
    alignment = draw(st.sampled_from([8, 32, 64, 4096]))
    kv_heads = draw(st.sampled_from([U32, BOOL, U8]))
    more = [pair("general.alignment", U32, alignment)]
    if draw(st.booleans()):
        heads = draw(st.lists(st.integers(0, 9), min_size=N_BLOCKS, max_size=N_BLOCKS))
        more.append(pair("llama.swiglu_clamp_exp", ARRAY, (F32, [0.5] * N_BLOCKS)))
        more.append(pair("llama.attention.head_count_kv", ARRAY, (kv_heads, [1, *heads[1:]])))
    if draw(st.booleans()):
        more.append(pair("general.size_label", STRING, "1K"))
    listed = [f"blk.{n}.ffn.weight" for n in draw(st.sets(st.integers(0, N_BLOCKS - 1)))]
    if listed:
        more.append(pair("general.tensor_extra.name", ARRAY, (STRING, listed)))
        more.append(pair("general.tensor_extra.prec_a4", ARRAY, (BOOL, [0] * len(listed))))
    tensors = draw(st.permutations(block_tensors(N_BLOCKS)))
    data = gguf(llama_pairs(N_BLOCKS, *more), tensors, alignment=alignment)
    end = draw(st.sampled_from(["padded", "bare", "trailing"]))
    n_padding = (alignment - len(tensors[-1].data) % alignment) % alignment
    return data[: len(data) - n_padding] if end == "bare" else data + b"tail" * (end == "trailing")
