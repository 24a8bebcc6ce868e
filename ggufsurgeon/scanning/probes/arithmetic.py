"""The probe of arithmetic: problems made from a seed, and how likely their right digits are."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.scanning.probes.probe import Item, TokenSequence

EXAMPLES = "12 + 35 = 47\n81 - 26 = 55\n7 * 9 = 63\n"
"""Problems in front of each, which show what is asked for."""


@dataclass(frozen=True)
class ArithmeticProbe:
    """The log-probability of the digits of the result, each behind the right ones before it.

    Sums and differences of numbers of two and three digits, and products of numbers below 100.
    """

    n_problems: int
    seed: int = 0

    name = "arithmetic"
    unit = "nats per problem"

    def settings(self) -> Mapping[str, Any]:
        """Nothing but the tokens."""
        return {}

    def problems(self) -> list[tuple[str, str]]:
        """Distinct problems and their results, drawn by the seed."""
        generator = random.Random(self.seed)
        found: dict[str, str] = {}
        while len(found) < self.n_problems:
            problem, result = _problem(generator)
            found[problem] = str(result)
        return list(found.items())

    def items(self, model: Model) -> Sequence[Item]:
        """The problems behind some examples. Raises UsageError for a model that reads no text."""
        if model.no_text:
            raise UsageError(f"{model.path} cannot do arithmetic: {model.no_text}")
        return [_item(model, problem, result) for problem, result in self.problems()]

    def score(self, index: int, log_probs: Sequence[npt.NDArray[np.float64]]) -> float:
        """The log-probability of the whole result."""
        return float(log_probs[0].sum())


def _problem(generator: random.Random) -> tuple[str, int]:
    sign = generator.choice("+-*")
    largest = 99 if sign == "*" else generator.choice((99, 999))
    first, second = sorted((generator.randint(2, largest) for _ in range(2)), reverse=True)
    result = {"+": first + second, "-": first - second, "*": first * second}[sign]
    return f"{first} {sign} {second} =", result


def _item(model: Model, problem: str, result: str) -> Item:
    """A problem; tokens are scored from the first on that the result changes."""
    begin = model.tokenize(f"{EXAMPLES}{problem}".encode())
    tokens = model.tokenize(f"{EXAMPLES}{problem} {result}".encode())
    n = min(len(begin), len(tokens))
    is_equal = begin[:n] == tokens[:n]
    first = n if is_equal.all() else int(is_equal.argmin())
    return Item(f"{problem} {result}", (TokenSequence(tokens, max(first, 1)),))
