"""Pairs of prompts for activation patching: one that leads to an answer, one that leads elsewhere.

A file of pairs has a JSON object in each line, with the strings `clean`, `corrupt`, `answer` and
`other`: behind the clean prompt the model should prefer the answer to the other, behind the corrupt
one the other. Both prompts must have equally many tokens, since states are carried from each token
to the one at the same place.
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
"""Bytes of a file of pairs."""
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
    """What patching found of a pair."""

    pair: PromptPair
    problem: str = ""
    """Why nothing was patched; empty if it was."""
    tokens: tuple[str, ...] = ()
    """The tokens of the clean prompt as text, or of both where they differ: `clean/corrupt`."""
    differing: tuple[int, ...] = ()
    """The places where the prompts differ."""
    clean: float = 0.0
    """Logit of the answer less that of the other behind the clean prompt, in nats."""
    corrupt: float = 0.0
    """The same behind the corrupt prompt."""
    recovery: Recovery | None = None
    """[n_blocks, n_tokens]; NaN where logits are not finite numbers. Tokens in front of the first
    that differs have equal states in both runs: 0."""


def own_pairs() -> tuple[PromptPair, ...]:
    """The pairs of the package."""
    return parse_pairs(files(__package__).joinpath("pairs.jsonl").read_bytes(), "pairs.jsonl")


def read_pairs(path: Path) -> tuple[PromptPair, ...]:
    """The pairs of a file. Raises UsageError where it cannot be read or holds something else."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path}: a file of pairs has at most {LARGEST_FILE:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_pairs(content, str(path))


def parse_pairs(content: bytes, name: str) -> tuple[PromptPair, ...]:
    """The pairs in the lines of a file; empty lines are left out. Raises UsageError with the line
    that is none."""
    lines = enumerate(content.splitlines(), 1)
    pairs = tuple(_pair(line, f"{name}, line {n}") for n, line in lines if line.strip())
    if not pairs:
        raise UsageError(f"{name}: it has no pairs of prompts")
    return pairs


def _pair(line: bytes, where: str) -> PromptPair:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: it is no JSON object: {error}") from None
    is_pair = isinstance(value, dict) and all(isinstance(value.get(key), str) for key in KEYS)
    if not is_pair or not all(value[key] and _is_encodable(value[key]) for key in KEYS):
        named = ", ".join(KEYS)
        raise UsageError(f"{where}: expected a JSON object with the strings {named}, none empty")
    return PromptPair(**{key: value[key] for key in KEYS})


def _is_encodable(text: str) -> bool:
    """Whether it is Unicode text: JSON can name halves of surrogate pairs."""
    return all(not "\ud800" <= character <= "\udfff" for character in text)
