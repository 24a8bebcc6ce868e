"""What the name of a broken file tells: a part of a cut file, or an unfinished download."""

from __future__ import annotations

import re
from pathlib import Path

from ggufsurgeon.container.shell_words import shell_word

NUMBERED = re.compile(r"(.+)\.part(\d{1,3})of(\d{1,3})", re.ASCII)
"""`model.gguf.part1of2`, as by `split` with names of its uploader's own."""
LETTERED = re.compile(r"(.+\.gguf)([.-](?:split|part)-?)([a-z]{1,2}|\d{2,3})", re.ASCII)
"""`model.gguf-split-a`, `model.gguf.part-aa`."""
BY_NUMBER = re.compile(r"(.+\.gguf)(\.)(\d{3})", re.ASCII)
"""`model.gguf.001`, as by 7-Zip and HJSplit."""
MOST_LISTED = 8
UNFINISHED = frozenset(
    {".part", ".partial", ".incomplete", ".crdownload", ".download", ".aria2", ".tmp"}
)
"""Endings that browsers, curl wrappers, aria2 and huggingface_hub give to a file until it is
complete."""
NOT_BY_CAT = "shards, named -00001-of-00005.gguf, are joined by llama-gguf-split, never by cat"


def hint_of_name(path: Path) -> str:
    """What to do about a file that is not whole, by its name; empty where that tells nothing."""
    numbered = NUMBERED.fullmatch(path.name)
    lettered = LETTERED.fullmatch(path.name) or BY_NUMBER.fullmatch(path.name)
    if numbered and 1 <= int(numbered[2]) <= int(numbered[3]):
        whole = path.with_name(numbered[1])
        return _join_numbered(str(whole), int(numbered[2]), int(numbered[3]))
    if lettered:
        whole, middle, part = path.with_name(lettered[1]), lettered[2], lettered[3]
        wildcard = "[0-9]" if part.isdigit() else "?"
        pattern = f"{shell_word(f'{whole}{middle}')}{wildcard * len(part)}"
        return _join("a part of a file that was cut", pattern, str(whole))
    if path.suffix.lower() in UNFINISHED:
        return f"The ending {path.suffix} is that of an unfinished download: let it finish."
    return ""


def _join_numbered(whole: str, part: int, n_parts: int) -> str:
    names = [f"{whole}.part{number}of{n_parts}" for number in range(1, n_parts + 1)]
    parts = " ".join(map(shell_word, names))
    if n_parts > MOST_LISTED:
        parts = f"{shell_word(whole)}.part{{1..{n_parts}}}of{n_parts}"
    return _join(f"part {part} of {n_parts} of a file that was cut", parts, whole)


def _join(what: str, parts: str, whole: str) -> str:
    return f"This is {what}; this makes it whole: cat {parts} > {shell_word(whole)} ({NOT_BY_CAT})"
