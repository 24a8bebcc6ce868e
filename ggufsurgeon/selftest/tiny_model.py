"""A tiny `llama` model with pseudorandom Q8_0 weights, which llama.cpp loads and runs.

Its vocabulary is the bytes and the printed characters of ASCII, as SentencePiece has them, so that
any text can be tokenized; characters of their own are tokenized faster than bytes. Tensors are
those of src/models/llama.cpp, keys those of src/llama-model.cpp in llama.cpp of 2026-10-01.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ggufsurgeon.container.headers.codec import make_pair, serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue, TensorInfo
from ggufsurgeon.container.headers.values import (
    ByteOrder,
    ValueType,
    encode_array_prefix,
    encode_string,
    encode_value,
)
from ggufsurgeon.container.layout import pad

N_BLOCKS = 6
N_EMBD, N_HEADS, N_KV_HEADS, N_FF = 64, 4, 2, 96
ORDER: ByteOrder = "<"
F32, Q8_0 = 0, 8
"""ggml's ids of types (ggml/include/ggml.h, `enum ggml_type`)."""
WEIGHTS_OF_BLOCK = 32
"""Weights of a block of Q8_0, which share a scale in half precision (`QK8_0`)."""
SCALE = 1 / 1024
"""The largest weights are about 1/8, so that logits stay small, yet no two blocks are alike."""
SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
CHARACTERS = ("\N{LOWER ONE EIGHTH BLOCK}", *map(chr, range(0x21, 0x7F)))
"""SentencePiece writes a space as the first of them."""
TOKENS = (*SPECIAL, *BYTES, *CHARACTERS)
NORMAL_KIND, UNKNOWN_KIND, CONTROL_KIND, BYTE_KIND = 1, 2, 3, 6
"""Types of tokens (`enum llama_token_type`, include/llama.h)."""


class _Tensor(NamedTuple):
    name: str
    dims: tuple[int, ...]
    type_id: int


def tiny_model() -> bytes:
    """The bytes of the GGUF, always the same; about 0.3 MB."""
    source = random.Random(0)
    infos, data, offset = [], [], 0
    for tensor in _tensors():
        content = _norm(tensor) if tensor.type_id == F32 else _weights(tensor, source)
        infos.append(TensorInfo(*tensor, offset))
        data.append(content.ljust(pad(len(content), 32), b"\0"))
        offset += len(data[-1])
    raw = serialize_header(Header(3, ORDER, tuple(_pairs()), tuple(infos)))
    return raw.ljust(pad(len(raw), 32), b"\0") + b"".join(data)


def _tensors() -> Iterator[_Tensor]:
    n_kv = N_EMBD // N_HEADS * N_KV_HEADS
    yield _Tensor("token_embd.weight", (N_EMBD, len(TOKENS)), Q8_0)
    for block in range(N_BLOCKS):
        for name, *dims in (
            ("attn_q", N_EMBD, N_EMBD),
            ("attn_k", N_EMBD, n_kv),
            ("attn_v", N_EMBD, n_kv),
            ("attn_output", N_EMBD, N_EMBD),
            ("ffn_gate", N_EMBD, N_FF),
            ("ffn_up", N_EMBD, N_FF),
            ("ffn_down", N_FF, N_EMBD),
        ):
            yield _Tensor(f"blk.{block}.{name}.weight", tuple(dims), Q8_0)
        for name in ("attn_norm", "ffn_norm"):
            yield _Tensor(f"blk.{block}.{name}.weight", (N_EMBD,), F32)
    yield _Tensor("output_norm.weight", (N_EMBD,), F32)
    yield _Tensor("output.weight", (N_EMBD, len(TOKENS)), Q8_0)


def _norm(tensor: _Tensor) -> bytes:
    return struct.pack("<f", 1.0) * tensor.dims[0]


def _weights(tensor: _Tensor, source: random.Random) -> bytes:
    n_blocks = tensor.dims[0] * tensor.dims[1] // WEIGHTS_OF_BLOCK
    scale = struct.pack("<e", SCALE)
    return b"".join(scale + source.randbytes(WEIGHTS_OF_BLOCK) for _ in range(n_blocks))


def _pairs() -> Iterator[KeyValue]:
    yield _text("general.architecture", "llama")
    yield _text("general.name", "ggufsurgeon selftest")
    numbers = {
        "block_count": N_BLOCKS,
        "context_length": 512,
        "embedding_length": N_EMBD,
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEADS,
        "attention.head_count_kv": N_KV_HEADS,
        "rope.dimension_count": N_EMBD // N_HEADS,
    }
    for key, number in numbers.items():
        yield _pair(f"llama.{key}", ValueType.UINT32, encode_value(ValueType.UINT32, number, ORDER))
    epsilon = encode_value(ValueType.FLOAT32, 1e-5, ORDER)
    yield _pair("llama.attention.layer_norm_rms_epsilon", ValueType.FLOAT32, epsilon)
    yield _text("tokenizer.ggml.model", "llama")
    yield from _vocabulary()


def _vocabulary() -> Iterator[KeyValue]:
    n = len(TOKENS)
    kinds = [UNKNOWN_KIND, CONTROL_KIND, CONTROL_KIND, *len(BYTES) * [BYTE_KIND]]
    kinds += [NORMAL_KIND] * len(CHARACTERS)
    texts = b"".join(encode_string(token, ORDER) for token in TOKENS)
    for key, kind, content in (
        ("tokens", ValueType.STRING, texts),
        ("scores", ValueType.FLOAT32, struct.pack(f"<{n}f", *(0.0 for _ in range(n)))),
        ("token_type", ValueType.INT32, struct.pack(f"<{n}i", *kinds)),
    ):
        prefix = encode_array_prefix(kind, n, ORDER)
        yield _pair(f"tokenizer.ggml.{key}", ValueType.ARRAY, prefix + content)
    for number, key in enumerate(("unknown_token_id", "bos_token_id", "eos_token_id")):
        value = encode_value(ValueType.UINT32, number, ORDER)
        yield _pair(f"tokenizer.ggml.{key}", ValueType.UINT32, value)


def _text(key: str, text: str) -> KeyValue:
    return _pair(key, ValueType.STRING, encode_value(ValueType.STRING, text, ORDER))


def _pair(key: str, kind: ValueType, content: bytes) -> KeyValue:
    return make_pair(key, kind, content, ORDER)
