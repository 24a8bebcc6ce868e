"""Models with another vocabulary than the one of their file."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import make_pair, parse_header, serialize_header
from ggufsurgeon.container.headers.header import KeyValue
from ggufsurgeon.container.headers.values import ValueType, encode_array_prefix, encode_string
from ggufsurgeon.container.layout import pad

PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
"""Bytes that GPT-2's tokenizer writes as the characters of their number; others follow 255."""

NORMAL, UNUSED = 1, 5
"""`LLAMA_TOKEN_TYPE_NORMAL` and `LLAMA_TOKEN_TYPE_UNUSED`, include/llama.h."""


def with_byte_tokens(source: Path, destination: Path, pre_tokenizer: str) -> Path:
    """The model with tokens for each byte, for `aa` and for two newlines, and fillers.

    It reads a text by byte pair encoding, split by one of llama.cpp's pre-tokenizers.
    """
    data = source.read_bytes()
    header, n_bytes = parse_header(data, str(source))
    tokens = header.get("tokenizer.ggml.tokens")
    assert isinstance(tokens, list)
    newline = _character(10)
    new = [_character(byte) for byte in range(256)] + ["aa", newline * 2]
    new += [f"filler{n}" for n in range(len(tokens) - len(new))]
    types = [NORMAL.to_bytes(4, "little")] * len(new)
    pairs = {
        "model": make_pair("tokenizer.ggml.model", ValueType.STRING, _string("gpt2"), "<"),
        "pre": make_pair("tokenizer.ggml.pre", ValueType.STRING, _string(pre_tokenizer), "<"),
        "tokens": _strings("tokens", new),
        "token_type": _array("token_type", ValueType.INT32, types),
        "merges": _strings("merges", ["a a", f"{newline} {newline}"]),
    }
    kept = [pair for pair in header.pairs if pair.key.rpartition("tokenizer.ggml.")[2] not in pairs]
    header = replace(header, pairs=(*kept, *pairs.values()))
    raw = serialize_header(header)
    start = pad(n_bytes, header.alignment)
    destination.write_bytes(raw + bytes(pad(len(raw), header.alignment) - len(raw)) + data[start:])
    return destination


def with_padding(source: Path, destination: Path, n_more: int) -> Path:
    """The model with `n_more` tokens behind the others, whose rows and so whose logits are 0."""
    file = open_gguf(source)
    header, data = file.header, source.read_bytes()
    tokens, scores, types = (
        header.get(f"tokenizer.ggml.{name}") for name in ("tokens", "scores", "token_type")
    )
    assert isinstance(tokens, list) and isinstance(scores, list) and isinstance(types, list)
    n_tokens = len(tokens)
    new = {
        "tokens": _strings("tokens", [*map(str, tokens), *(f"<pad{n}>" for n in range(n_more))]),
        "scores": _array(
            "scores", ValueType.FLOAT32, [struct.pack("<f", x) for x in scores + [0.0] * n_more]
        ),
        "token_type": _array(
            "token_type", ValueType.INT32, [struct.pack("<i", x) for x in types + [UNUSED] * n_more]
        ),
    }
    kept = [pair for pair in header.pairs if pair.key.rpartition("tokenizer.ggml.")[2] not in new]
    tensors, pieces, at = [], [], 0
    for index, tensor in enumerate(header.tensors):
        start, n_bytes = file.offset_in_file(index), file.layout.tensor_n_bytes[index]
        piece, dims = data[start : start + n_bytes], tensor.dims
        if dims[-1] == n_tokens:
            dims = (*dims[:-1], n_tokens + n_more)
            piece += bytes(n_bytes // n_tokens * n_more)
        tensors.append(replace(tensor, dims=dims, offset_in_data=at))
        piece += bytes(pad(len(piece), header.alignment) - len(piece))
        pieces.append(piece)
        at += len(piece)
    raw = serialize_header(replace(header, pairs=(*kept, *new.values()), tensors=tuple(tensors)))
    raw += bytes(pad(len(raw), header.alignment) - len(raw))
    destination.write_bytes(raw + b"".join(pieces))
    return destination


def _character(byte: int) -> str:
    if byte in PRINTABLE:
        return chr(byte)
    return chr(256 + sum(other not in PRINTABLE for other in range(byte)))


def _string(text: str) -> bytes:
    return encode_string(text, "<")


def _strings(name: str, texts: list[str]) -> KeyValue:
    return _array(name, ValueType.STRING, [_string(text) for text in texts])


def _array(name: str, element: ValueType, encoded: list[bytes]) -> KeyValue:
    prefix = encode_array_prefix(element, len(encoded), "<")
    return make_pair(f"tokenizer.ggml.{name}", ValueType.ARRAY, prefix + b"".join(encoded), "<")
