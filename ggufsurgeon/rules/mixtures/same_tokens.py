"""Whether the tokens of two files have the same numbers."""

from __future__ import annotations

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError

TOKENS = "tokenizer.ggml.tokens"


def check_same_tokens(one: GgufFile, other: GgufFile) -> None:
    """Raise RefusedError where a number is one token in `one`, and another in `other`.

    One may have more tokens than the other, as padded vocabularies have. A file without tokens
    says nothing about them, and is not refused.
    """
    first, second = one.header.pair_of.get(TOKENS), other.header.pair_of.get(TOKENS)
    if first is None or second is None or first.raw == second.raw:
        return
    found, expected = first.value, second.value
    if not isinstance(found, list) or not isinstance(expected, list):
        return
    for number, (token, wanted) in enumerate(zip(found, expected, strict=False)):
        if token != wanted:
            raise RefusedError(
                f"token {number} is {quoted(token)} in {one.path} ({len(found):,} tokens) and "
                f"{quoted(wanted)} in {other.path} ({len(expected):,}): they have different "
                "vocabularies"
            )
