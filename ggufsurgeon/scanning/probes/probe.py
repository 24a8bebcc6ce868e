"""The interface of probes.

A probe is an object that can be pickled: it is sent to the process that has loaded the model, makes
its items there, and scores them from the log-probabilities of their tokens.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import GgufSurgeonError, UsageError
from ggufsurgeon.store.scan_scores import LARGEST_SCORE


@dataclass(frozen=True)
class TokenSequence:
    """Tokens that a model reads, of which those from `first` on are scored."""

    tokens: Integers
    """int32 [n_tokens]."""
    first: int
    """At least 1: nothing predicts the first token."""


@dataclass(frozen=True)
class Item:
    """One question of a probe, or one chunk of a text."""

    label: str
    """What reports call it."""
    sequences: tuple[TokenSequence, ...]


@runtime_checkable
class Probe(Protocol):
    """Items to score along each layer path."""

    name: str
    """A short name, such as `text`."""
    unit: str
    """The unit of a score, such as `nats per token`."""

    def settings(self) -> Mapping[str, Any]:
        """What the scores depend on besides the tokens of the items, as JSON's types."""

    def items(self, model: Model) -> Sequence[Item]:
        """The items in the tokens of the model. Raises UsageError where they do not fit it."""

    def score(self, index: int, log_probs: Sequence[npt.NDArray[np.float64]]) -> float:
        """The score of the item of this index; higher is better.

        `log_probs` has the log-probabilities, in nats, of the scored tokens of each sequence.
        """


def items_sha256(items: Sequence[Item]) -> str:
    """SHA-256 of the tokens and labels of items, and of what is scored."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr((item.label, len(item.sequences))).encode())
        for sequence in item.sequences:
            digest.update(repr((sequence.first, len(sequence.tokens))).encode())
            digest.update(np.ascontiguousarray(sequence.tokens, dtype="<i4").tobytes())
    return digest.hexdigest()


def kept_score(score: float) -> float:
    """A score as a store keeps it: NaN for one that it does not take."""
    return score if abs(score) <= LARGEST_SCORE else math.nan


@contextmanager
def probe_errors(name: str, where: str = "") -> Iterator[None]:
    """Turn what a probe raises, which others may have written, into a UsageError.

    `where` says what it was asked for, such as `an item along 0..4`.
    """
    try:
        yield
    except GgufSurgeonError:
        raise
    except (Exception, SystemExit) as error:
        kind, place = type(error).__name__, f" on {where}" if where else ""
        raise UsageError(f"probe {name} failed{place}: {kind}: {error}") from error
