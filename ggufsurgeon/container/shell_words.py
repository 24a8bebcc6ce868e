"""Commands in messages, for pasting into a shell."""

from __future__ import annotations

import os
import shlex

ESCAPED = ("'", "\\")


def shell_command(*words: str | os.PathLike[str]) -> str:
    """A command whose words are quoted where a shell needs that; paths are arguments, never
    options."""
    return " ".join(shell_word(word if isinstance(word, str) else argument(word)) for word in words)


def argument(path: os.PathLike[str]) -> str:
    """A path as an argument of a command: one that begins with a dash is taken for an option."""
    text = os.fspath(path)
    return f"./{text}" if text.startswith("-") else text


def shell_word(text: str) -> str:
    """A word, quoted if a shell needs that.

    Bytes that are not UTF-8 and characters that are not printed are escapes in dollar-single-quotes
    (POSIX.1-2024, section 2.2.4; bash, zsh and ksh have long had them).
    """
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_escaped, text))}'"


def _escaped(character: str) -> str:
    if character.isprintable() and character not in ESCAPED:
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))
