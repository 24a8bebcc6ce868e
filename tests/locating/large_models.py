"""Models with much data, which take no room on disk, and headers of any size."""

from __future__ import annotations

from pathlib import Path

from tests.models.builders import ARRAY, STRING, Tensor, gguf, llama_pairs, pair

N_ROWS = 1 << 18
ROW = 16
TENSOR_N_BYTES = 4 * ROW * N_ROWS
N_BLOCKS = 4
NAMES = ("token_embd", *(f"blk.{block}.ffn_up" for block in range(N_BLOCKS)), "output_norm")


def large_model(path: Path, n_tokens: int = 100) -> Path:
    """A `llama` model of 100 MB of zeros, with a vocabulary of so many tokens of 10 bytes."""
    tokens = [f"{number:010}" for number in range(n_tokens)]
    vocabulary = pair("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))
    tensors = [
        Tensor(f"{name}.weight", (ROW, N_ROWS), offset=number * TENSOR_N_BYTES)
        for number, name in enumerate(NAMES)
    ]
    whole = gguf(llama_pairs(N_BLOCKS, vocabulary), tensors)
    header = whole[: -32 * len(tensors)]
    path.write_bytes(header)
    with path.open("r+b") as file:
        file.truncate(len(header) + len(tensors) * TENSOR_N_BYTES)
    return path
