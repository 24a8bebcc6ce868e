"""The probe of arithmetic by generated answers: which results a model writes right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ggufsurgeon.scanning.probes.answers import Question
from ggufsurgeon.scanning.probes.arithmetic import EXAMPLES, ArithmeticProbe

MAX_TOKENS = 8
"""A space, and a digit of the result in each token: results have up to four."""
_INTEGER = re.compile(r"-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)")
"""With a comma before each three digits, or without."""


@dataclass(frozen=True)
class ArithmeticAnswerProbe:
    """1 where the first integer of the answer is the result, else 0, also where there is none.

    The problems are those of `ArithmeticProbe`, behind the same examples.
    """

    n_problems: int
    seed: int = 0

    name = "answers"
    unit = "share of right answers"
    score_of_unparsed = 0.0

    def settings(self) -> Mapping[str, Any]:
        """Nothing but the questions, whose labels tell the results."""
        return {}

    @cached_property
    def _problems(self) -> Sequence[tuple[str, str]]:
        return ArithmeticProbe(self.n_problems, self.seed).problems()

    def questions(self) -> Sequence[Question]:
        """The problems behind some examples."""
        return [
            Question(f"{problem} {result}", f"{EXAMPLES}{problem}", MAX_TOKENS)
            for problem, result in self._problems
        ]

    def score(self, index: int, answer: str) -> float | None:
        """1 or 0; None for an answer without an integer."""
        found = _INTEGER.search(answer)
        if found is None:
            return None
        return float(found[0].replace(",", "") == self._problems[index][1])

    def constant_score(self) -> float:
        """The share of problems that have the most frequent result."""
        return max(Counter(result for _, result in self._problems).values()) / self.n_problems
