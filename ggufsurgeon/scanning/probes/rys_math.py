"""The score of dnhkng/RYS for guesses of integers, such as square roots.

It is here for the sake of comparison, with its defects:

- The best of all integers in an answer counts: an answer that lists many scores high, whatever the
  question is. A list of 2, 5 and 8 followed by zeros, as long as the answers are, has 0.79 on RYS's
  16 questions.
- Thousands that are set apart by commas are integers of their own: the right number scores about
  0.3 when it is written so. An answer of 0 always scores 0.

`ArithmeticAnswerProbe` takes one integer of an answer, and reads commas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ggufsurgeon.scanning.probes.answers import Question, mean_score
from ggufsurgeon.scanning.probes.rys_files import MAX_DIGITS, MathQuestion

MAX_TOKENS = 64
"""As in RYS's combined worker."""
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)


@dataclass(frozen=True)
class RysMathProbe:
    """How near the best integer of an answer comes to the right one, from 0 to 1."""

    items: tuple[MathQuestion, ...]

    name = "rys-math"
    unit = "score from 0 to 1"
    score_of_unparsed = 0.0

    def settings(self) -> Mapping[str, Any]:
        """The answers."""
        return {"answers": [one.answer for one in self.items]}

    def questions(self) -> Sequence[Question]:
        """The questions of the file, by the chat template."""
        return [Question(one.name, one.question, MAX_TOKENS, is_chat=True) for one in self.items]

    def score(self, index: int, answer: str) -> float | None:
        """The best closeness of all integers behind the model's thoughts, or else in them."""
        integers = _integers(without_thoughts(answer)) or _integers(answer)
        if not integers:
            return None
        return max(closeness(self.items[index].answer, integer) for integer in integers)

    def constant_score(self) -> float:
        """That of a list of 2, 5 and 8, with as many digits as any answer has.

        The best constant answer scores at least as high.
        """
        lengths = sorted({len(one.answer) for one in self.items})
        numbers = [first + "0" * (length - 1) for length in lengths for first in "258"]
        return mean_score(self, len(self.items), " ".join(numbers))


def closeness(right: str, guess: str) -> float:
    """RYS's score of an integer, both given by their digits.

    The shorter is filled with zeros at its end up to the n digits of the longer; the score is 1
    less the relative difference to the greater of both, times 1 less the share of filled digits.
    """
    n = max(len(right), len(guess))
    first, second = (int(digits.ljust(n, "0")) for digits in (right, guess))
    if max(first, second) == 0:
        return 0.0
    n_filled = n - min(len(right), len(guess))
    return (1 - abs(first - second) / max(first, second)) * (1 - n_filled / n)


def without_thoughts(answer: str) -> str:
    """The answer without what stands between `<think>` and `</think>`, or the end."""
    return _THOUGHT.sub("", answer)


def _integers(text: str) -> list[str]:
    """The digits of each integer in a text, without zeros in front."""
    found = [digits for digits in re.findall(r"\d+", text) if len(digits) <= MAX_DIGITS]
    return [str(int(digits)) for digits in found]
