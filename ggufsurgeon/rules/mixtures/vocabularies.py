"""Vocabularies of several models whose blocks are mixed.

Blocks read no tokens, so vocabularies may differ. The user is told how, since token 5 of one model
may be another word than token 5 of the model whose tokenizer is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import Value
from ggufsurgeon.container.quoting import quoted

TOKENIZER = "tokenizer."
"""What all keys of a tokenizer begin with."""
TOKENS = "tokenizer.ggml.tokens"
CHAT_TEMPLATE = "tokenizer.chat_template"
_SPECIAL = re.compile(
    r"tokenizer\.(?:chat_template|ggml\.(?:[a-z_]{1,30}_token_id|add_[a-z_]{1,30}))"
)
"""Keys of the chat template and of tokens with a meaning of their own (gguf/constants.py)."""


def vocabulary_notes(files: Sequence[GgufFile], tokenizer: int) -> Iterator[str]:
    """A note for each model whose vocabulary is not that of the model of the tokenizer."""
    base = files[tokenizer]
    for n, file in enumerate(files):
        if n != tokenizer:
            yield from _differences(base, file)


def _differences(base: GgufFile, other: GgufFile) -> Iterator[str]:
    """Notes of what tells a tokenizer from another, if anything does."""
    ours, theirs = (file.header.pair_of.get(TOKENS) for file in (base, other))
    if ours is None or theirs is None:
        if ours is not theirs:
            has, lacks = (base, other) if theirs is None else (other, base)
            yield f"{has.path} has a vocabulary, and {lacks.path} has none"
    elif ours.raw != theirs.raw:
        yield f"{other.path} has {_difference(_tokens(ours), _tokens(theirs), base)}"
    pairs = base.header.pair_of, other.header.pair_of
    keys = sorted(key for key in {*pairs[0], *pairs[1]} if _SPECIAL.fullmatch(key))
    found = [key for key in keys if _raw(pairs[0], key) != _raw(pairs[1], key)]
    if found:
        yield (
            f"{', '.join(map(_named, found))} are those of {base.path}, and {other.path} has others"
        )


def _raw(pairs: Mapping[str, KeyValue], key: str) -> bytes | None:
    return pairs[key].raw if key in pairs else None


def _named(key: str) -> str:
    return "the chat template" if key == CHAT_TEMPLATE else key


def _difference(ours: Sequence[Value], theirs: Sequence[Value], base: GgufFile) -> str:
    different = [n for n, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]]
    n_more = len(theirs) - len(ours)
    if not different:
        more = "more" if n_more > 0 else "fewer"
        return f"the vocabulary of {base.path} with {abs(n_more):,} tokens {more} at its end"
    first = different[0]
    return (
        f"another vocabulary than {base.path}: {len(different):,} of "
        f"{min(len(ours), len(theirs)):,} tokens differ, the first of them is {first} "
        f"({quoted(theirs[first])} instead of {quoted(ours[first])}), and its blocks were trained "
        f"with its own"
    )


def _tokens(pair: KeyValue) -> list[Value]:
    return pair.value if isinstance(pair.value, list) else []


def with_tokenizer_of(header: Header, other: Header) -> tuple[KeyValue, ...]:
    """The pairs of a header with the tokenizer of another: all keys that begin so, in its place."""
    theirs = [pair for pair in other.pairs if pair.key.startswith(TOKENIZER)]
    found: list[KeyValue] = []
    for pair in header.pairs:
        if not pair.key.startswith(TOKENIZER):
            found.append(pair)
        elif theirs:
            found += theirs
            theirs = []
    return (*found, *theirs)
