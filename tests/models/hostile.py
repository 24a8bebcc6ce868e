"""A model that can be loaded, with escape sequences, markup and paths in all of its strings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ggufsurgeon.container.headers.codec import make_pair, parse_header, serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import ValueType, encode_array_prefix
from ggufsurgeon.container.layout import pad

INJECTED = "INJECTED"
"""What stands behind each line break: no line of any output begins with it."""
MARKUP = "[red]"
SCRIPT = "<script>document.title='INJECTED'</script><!--"
CODES = (
    "\x1b[31m",  # colour
    "\x1b[2J\x1b[H",  # an empty screen
    "\x1b]0;title\x07",
    "\x1b]8;;http://example.com\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;ZWNobw==\x07",  # the clipboard
    "\x1bP$q\x1b\\",  # a question, which the terminal answers by typing
    "\x9b31m\x9d0;x\x9c\x85",  # C1
    "\a\b\b\r\f\v\x7f",
    "\u202e\u2066\u200f\u200b\ufeff\u2028\u2029\U000e0041",
    f"\n{INJECTED}\r\n{INJECTED}",
    f"{MARKUP}[link=http://example.com][/]\\[b]",
    SCRIPT,
    "$x^2$ %s {0} =1+1",
)
EVIL = "".join(CODES)
EVIL_BYTES = EVIL.encode() + b"\xff\x9b\xed\xa0\x80"
"""Also what is no UTF-8."""
NAME = ("=" + EVIL.replace("/", "").replace("\n", " "))[:60]
"""For the names of files, which have at most 255 bytes."""
NAME_BYTES = b"\xff\x9b\nINJECTED\x1b[31m\xe2\x80\xae[red]"
LONG = 3000
"""Times that a string is repeated in the longest value."""
COMPLAINT = "{{ raise_exception(" + repr(EVIL) + " * 1000) }}"


def hostile_model(source: Path, evil: bytes = EVIL_BYTES) -> bytes:
    """The model with such strings as keys, values and tokens.

    Its name, its description and the texts of its tokens are replaced, and it has a chat template
    that complains.
    """
    data = source.read_bytes()
    header, n_bytes = parse_header(data, str(source))
    start = pad(n_bytes, header.alignment)
    kept = [pair for pair in header.pairs if pair.key not in _OURS]
    tokens = _tokens(header, evil)
    changed = replace(header, pairs=(*kept, *_texts(evil), tokens))
    raw = serialize_header(changed)
    return raw + bytes(pad(len(raw), header.alignment) - len(raw)) + data[start:]


_TOKENS = "tokenizer.ggml.tokens"
_OURS = {"general.name", "general.description", "tokenizer.chat_template", _TOKENS}
_NORMAL = 1
"""`LLAMA_TOKEN_TYPE_NORMAL`, include/llama.h."""


def _texts(evil: bytes) -> list[KeyValue]:
    key = "general." + evil.decode("utf-8", "surrogateescape")
    tags = encode_array_prefix(ValueType.STRING, 2, "<") + _string(evil) + _string(b"=" + evil)
    return [
        make_pair("general.name", ValueType.STRING, _string(evil), "<"),
        make_pair("general.description", ValueType.STRING, _string(evil * LONG), "<"),
        make_pair("general.tags", ValueType.ARRAY, tags, "<"),
        make_pair(key, ValueType.STRING, _string(evil), "<"),
        make_pair(key * 100, ValueType.STRING, _string(evil), "<"),
        make_pair("tokenizer.chat_template", ValueType.STRING, _string(COMPLAINT.encode()), "<"),
    ]


def _tokens(header: Header, evil: bytes) -> KeyValue:
    texts, kinds = header.get(_TOKENS), header.get("tokenizer.ggml.token_type")
    assert isinstance(texts, list) and isinstance(kinds, list)
    encoded = [
        _string(evil + str(n).encode() if kind == _NORMAL else str(text).encode())
        for n, (text, kind) in enumerate(zip(texts, kinds, strict=True))
    ]
    array = encode_array_prefix(ValueType.STRING, len(encoded), "<") + b"".join(encoded)
    return make_pair(_TOKENS, ValueType.ARRAY, array, "<")


def _string(raw: bytes) -> bytes:
    return len(raw).to_bytes(8, "little") + raw
