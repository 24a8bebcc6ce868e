"""Pairs of prompts for activation patching: one that leads to an answer, one that leads elsewhere.

A file of pairs has a JSON object in each line, with the strings `clean`, `corrupt`, `answer` and
`other`: after the clean prompt the model should prefer the answer, and after the corrupt prompt the
other answer. Both prompts must have the same number of tokens, because states are copied between
tokens at the same position.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import UsageError

KEYS = ("clean", "corrupt", "answer", "other")
LARGEST_FILE = 10_000_000
"""The maximum size of a file of pairs, in bytes."""
Recovery = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PromptPair:
    """A pair; answers are compared by the first token that they add to a prompt."""

    clean: str
    corrupt: str
    answer: str
    other: str


@dataclass(frozen=True)
class PairReading:
    """What activation patching found for a pair."""

    pair: PromptPair
    problem: str = ""
    """Why nothing was patched; empty if it was."""
    tokens: tuple[str, ...] = ()
    """The tokens of the clean prompt as text, or of both where they differ: `clean/corrupt`."""
    differing: tuple[int, ...] = ()
    """The positions at which the prompts differ, from 0."""
    clean: float = 0.0
    """Logit of the answer minus that of the other after the clean prompt, in nats."""
    corrupt: float = 0.0
    """The same after the corrupt prompt."""
    recovery: Recovery | None = None
    """[n_blocks, n_tokens]; NaN where logits are not finite numbers. It is 0 for tokens before the
    first that differs, because their states are equal in both runs."""


def own_pairs() -> tuple[PromptPair, ...]:
    """The pairs that ship with the package."""
    return parse_pairs(files(__package__).joinpath("pairs.jsonl").read_bytes(), "pairs.jsonl")


def read_pairs(path: Path) -> tuple[PromptPair, ...]:
    """Read a file of pairs. Raises UsageError if it cannot be read or holds something else."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path}: a file of pairs has at most {LARGEST_FILE:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_pairs(content, str(path))


def parse_pairs(content: bytes, name: str) -> tuple[PromptPair, ...]:
    """The pairs in the lines of a file; empty lines are skipped. Raises UsageError that names the
    first line that is not a pair."""
    lines = enumerate(content.splitlines(), 1)
    pairs = tuple(_pair(line, f"{name}, line {n}") for n, line in lines if line.strip())
    if not pairs:
        raise UsageError(f"{name}: it has no pairs of prompts")
    return pairs


def _pair(line: bytes, where: str) -> PromptPair:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: this is not a JSON object: {error}") from None
    is_pair = isinstance(value, dict) and all(isinstance(value.get(key), str) for key in KEYS)
    if not is_pair or not all(value[key] and _is_encodable(value[key]) for key in KEYS):
        named = ", ".join(KEYS)
        raise UsageError(f"{where}: expected a JSON object with the non-empty strings {named}")
    return PromptPair(**{key: value[key] for key in KEYS})


def _is_encodable(text: str) -> bool:
    """Whether it is Unicode text: JSON can name halves of surrogate pairs."""
    return all(not "\ud800" <= character <= "\udfff" for character in text)
