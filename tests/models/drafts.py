"""Speculative drafts for a model, with seeded random values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from tests.models.builders import ARRAY, BOOL, F32, I32, STRING, U32, Tensor, gguf, pair
from tests.models.companions import values

N_HEADS, N_FF, HEAD_SIZE = 2, 96, 32


def width_of(file: GgufFile) -> int:
    width = file.header.get(f"{file.header.architecture}.embedding_length")
    assert isinstance(width, int)
    return width


def vocabulary_pairs(file: GgufFile) -> list[bytes]:
    return [p.raw for p in file.header.pairs if p.key.startswith("tokenizer.") and p.value != []]


def _pairs(
    architecture: str, width: int, *more: tuple[str, int, object], n_blocks: int = 1
) -> list[bytes]:
    keys = [
        ("block_count", U32, n_blocks),
        ("context_length", U32, 256),
        ("embedding_length", U32, width),
        ("feed_forward_length", U32, N_FF),
        ("attention.head_count", U32, N_HEADS),
        ("attention.key_length", U32, HEAD_SIZE),
        ("attention.value_length", U32, HEAD_SIZE),
        ("attention.layer_norm_rms_epsilon", F32, 1e-5),
        *more,
    ]
    return [
        pair("general.architecture", STRING, architecture),
        *(pair(f"{architecture}.{key}", kind, value) for key, kind, value in keys),
    ]


def _block(width: int, attention_width: int, *norms: str) -> list[Tensor]:
    """The tensors of a block whose attention reads states of `attention_width`."""
    heads = N_HEADS * HEAD_SIZE
    shapes = {
        **{f"attn_{name}": (attention_width, heads) for name in "qkv"},
        "attn_output": (heads, width),
        "ffn_gate": (width, N_FF),
        "ffn_up": (width, N_FF),
        "ffn_down": (N_FF, width),
        **{norm: (width,) for norm in ("attn_norm", "ffn_norm", *norms)},
        **{f"attn_{name}_norm": (HEAD_SIZE,) for name in "qk" if not norms},
    }
    return [values(f"blk.0.{name}.weight", *dims) for name, dims in shapes.items()]


def eagle3(model: Path, layers: Sequence[int], *more: bytes, width: int = 0) -> bytes:
    """A draft that reads three layers of a model."""
    file, own = open_gguf(model), 64
    target = width or width_of(file)
    numbers = ("target_layers", ARRAY, (I32, list(layers)))
    pairs = _pairs("eagle3", own, numbers, ("target_hidden_size", U32, target))
    tensors = [
        values("token_embd.weight", own, 128),
        values("fc.weight", len(layers) * target, own),
        values("output_norm.weight", own),
        values("output.weight", own, 128),
        *_block(own, 2 * own, "attn_norm_2"),
    ]
    return gguf([*pairs, *vocabulary_pairs(file), *more], tensors)


def dflash(model: Path, layers: Sequence[int], *more: bytes) -> bytes:
    """A draft as wide as the model, which reads any number of its layers."""
    file = open_gguf(model)
    own = width_of(file)
    pairs = _pairs("dflash", own, ("target_layers", ARRAY, (U32, list(layers))))
    tensors = [
        values("fc.weight", len(layers) * own, own),
        values("enc.output_norm.weight", own),
        values("output_norm.weight", own),
        *_block(own, own),
    ]
    return gguf([*pairs, *vocabulary_pairs(file), *more], tensors)


def gemma4_assistant(model: Path, *more: bytes) -> bytes:
    """A draft of two blocks, which attends to the KV caches of a gemma4."""
    file, own = open_gguf(model), 64
    pairs = _pairs(
        "gemma4-assistant",
        own,
        ("nextn_predict_layers", U32, 2),
        ("embedding_length_out", U32, width_of(file)),
        ("attention.sliding_window", U32, 32),
        ("attention.sliding_window_pattern", ARRAY, (BOOL, [True, False])),
        n_blocks=2,
    )
    return gguf([*pairs, *vocabulary_pairs(file), *more], [values("blk.0.attn_norm.weight", own)])
