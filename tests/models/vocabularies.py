"""Models with another vocabulary than the one of their file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ggufsurgeon.container.codec import make_pair, parse_header, serialize_header
from ggufsurgeon.container.header import KeyValue
from ggufsurgeon.container.layout import pad
from ggufsurgeon.container.values import ValueType, encode_array_prefix, encode_string

PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
"""Bytes that GPT-2's tokenizer writes as the characters of their number; others follow 255."""

NORMAL = 1
"""`LLAMA_TOKEN_TYPE_NORMAL`, include/llama.h."""


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
