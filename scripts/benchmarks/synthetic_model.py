"""A model of random weights in a usual shape: larger than what a test machine can download."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

N_BLOCKS, N_EMBD, N_FF, N_HEAD, N_HEAD_KV = 24, 2048, 5632, 32, 8
"""As a model of 1.1 billion parameters has them."""
SHAPES = {
    "attn_q": (N_EMBD, N_EMBD),
    "attn_k": (N_EMBD // N_HEAD * N_HEAD_KV, N_EMBD),
    "attn_v": (N_EMBD // N_HEAD * N_HEAD_KV, N_EMBD),
    "attn_output": (N_EMBD, N_EMBD),
    "ffn_gate": (N_FF, N_EMBD),
    "ffn_up": (N_FF, N_EMBD),
    "ffn_down": (N_EMBD, N_FF),
}
NORMS = ("attn_norm", "ffn_norm")


def write_synthetic(tokenizer_of: Path, path: Path) -> Path:
    """Write a llama model in Q8_0 with the tokenizer of another file."""
    writer = GGUFWriter(path, "llama")
    n_vocab = _add_tokenizer(writer, GGUFReader(tokenizer_of))
    writer.add_block_count(N_BLOCKS)
    writer.add_context_length(8192)
    writer.add_embedding_length(N_EMBD)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_layer_norm_rms_eps(1e-5)
    for name, values in _tensors(n_vocab):
        is_norm = values.dtype == np.float32
        kind = None if is_norm else GGMLQuantizationType.Q8_0
        writer.add_tensor(f"{name}.weight", values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter, reader: GGUFReader) -> int:
    """Copy the keys of the tokenizer; the number of tokens."""
    for key, field in reader.fields.items():
        if key.startswith("tokenizer."):
            kind, *sub_kind = field.types
            writer.add_key_value(key, field.contents(), kind, *sub_kind[:1])
    return len(reader.fields["tokenizer.ggml.tokens"].data)


def _tensors(n_vocab: int) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    generator = np.random.default_rng(0)
    norm = np.ones(N_EMBD, dtype=np.float32)
    yield "token_embd", _q8_0(generator, n_vocab, N_EMBD)
    yield "output_norm", norm
    for block in range(N_BLOCKS):
        for name, (n_rows, n_columns) in SHAPES.items():
            yield f"blk.{block}.{name}", _q8_0(generator, n_rows, n_columns)
        for name in NORMS:
            yield f"blk.{block}.{name}", norm


def _q8_0(generator: np.random.Generator, n_rows: int, n_columns: int) -> npt.NDArray[np.uint8]:
    """Random rows of Q8_0: a scale in 16 bits and 32 weights, each block 34 bytes."""
    blocks = generator.integers(0, 256, (n_rows, n_columns // 32, 34), dtype=np.uint8)
    blocks[..., :2] = np.array([2.5e-4], dtype=np.float16).view(np.uint8)
    return blocks.reshape(n_rows, -1)
