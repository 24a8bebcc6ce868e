"""The score of dnhkng/RYS for the intensities of emotions, in questions as those of EQ-Bench v2.

It is here for the sake of comparison, with its defects:

- RYS compares with `reference_answer`, whose four numbers are scaled to a sum of 10, while the
  prompt asks for numbers from 0 to 10: a perfect answer loses, and smaller numbers gain. On RYS's
  16 questions a perfect answer has 0.85, and 2.5 for each emotion 0.74. Give the numbers that the
  prompt asks for as `reference` to have that undone.
- An answer that cannot be parsed scores 0.5, more than a poor one. The share of parsed answers is a
  probe of its own: `rys-eq parsed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ggufsurgeon.scanning.probes.answers import Question, mean_score
from ggufsurgeon.scanning.probes.rys_files import LARGEST_SCORE, N_EMOTIONS, EmotionQuestion
from ggufsurgeon.scanning.probes.rys_math import without_thoughts

MAX_TOKENS = 64
"""As in RYS's combined worker, whose prompts ask for one pass."""
MAX_TOKENS_REVISED = 384
"""As in RYS's worker of emotions alone, for prompts that ask for two passes and a critique."""
NEUTRAL = 5.0
"""What counts for an emotion that an answer leaves out."""
FIRST_PASS, REVISED = "First pass scores:", "Revised scores:"
_FIRST = re.compile(rf"{FIRST_PASS}(.*?)(?:Critique:|\Z)", re.IGNORECASE | re.DOTALL)
_SECOND = re.compile(rf"{REVISED}(.*?)(?:\[End of answer\]|\Z)", re.IGNORECASE | re.DOTALL)
_NAMED = re.compile(r"[A-Za-z]+:\s*(\d+(?:\.\d+)?)")
_NUMBER = re.compile(r"\b\d+(?:\.\d+)?\b")

Intensities = Sequence[float]


@dataclass(frozen=True)
class RysEqProbe:
    """How near the intensities of an answer come to the reference, from 0 to 1."""

    items: tuple[EmotionQuestion, ...]

    name = "rys-eq"
    unit = "score from 0 to 1"
    score_of_unparsed = 0.5

    def settings(self) -> Mapping[str, Any]:
        """The references."""
        return {"references": [list(one.reference) for one in self.items]}

    def questions(self) -> Sequence[Question]:
        """The prompts of the file, by the chat template."""
        return [
            Question(
                one.name,
                one.prompt,
                MAX_TOKENS_REVISED if REVISED in one.prompt else MAX_TOKENS,
                is_chat=True,
            )
            for one in self.items
        ]

    def score(self, index: int, answer: str) -> float | None:
        """RYS's score; None for an answer without a number from 0 to 10."""
        intensities, confidence = parse_answer(without_thoughts(answer))
        if not confidence:
            return None
        return agreement(self.items[index].reference, intensities, confidence)

    def constant_score(self) -> float:
        """That of the median intensities, in the form that the prompts ask for."""
        medians = (median(one.reference[n] for one in self.items) for n in range(N_EMOTIONS))
        lines = "\n".join(f"Emotion: {value:.6f}" for value in medians)
        forms = [FIRST_PASS, REVISED] if any(REVISED in one.prompt for one in self.items) else []
        answer = "\nCritique:\n".join(f"{form}\n{lines}" for form in forms or [FIRST_PASS])
        return mean_score(self, len(self.items), answer)


def agreement(reference: Intensities, intensities: Intensities, confidence: float) -> float:
    """1 less the mean difference over 10, drawn to 0.5 by what is lacking of the confidence.

    Intensities are compared by their places; the names of emotions are not looked at.
    """
    differences = sum(abs(a - b) for a, b in zip(reference, intensities, strict=True))
    raw = 1 - differences / (LARGEST_SCORE * N_EMOTIONS)
    return confidence * raw + (1 - confidence) * 0.5


def parse_answer(answer: str) -> tuple[Intensities, float]:
    """The four intensities that RYS takes of an answer, and its confidence in them.

    The confidence is 1 where there are scores of a first pass and revised ones, whose mean is
    taken, 0.9 for revised scores alone and 0.8 for those of a first pass alone; 0.5 for four
    numbers from 0 to 10 anywhere, and an eighth for each of fewer.
    """
    first, revised = _section(_FIRST, answer), _section(_SECOND, answer)
    if first and revised:
        return [(a + b) / 2 for a, b in zip(first, revised, strict=True)], 1.0
    if first or revised:
        return (revised, 0.9) if revised else (first, 0.8)
    numbers = _within_scale(_NUMBER.findall(answer))[:N_EMOTIONS]
    return _filled(numbers), len(numbers) / 8


def _section(pattern: re.Pattern[str], answer: str) -> list[float]:
    """The intensities below a heading; none unless at least three of four are there."""
    found = pattern.search(answer)
    if found is None:
        return []
    values = _within_scale(_NAMED.findall(found[1])[:N_EMOTIONS])
    return _filled(values) if len(values) >= N_EMOTIONS - 1 else []


def _within_scale(numbers: Sequence[str]) -> list[float]:
    return [value for value in map(float, numbers) if value <= LARGEST_SCORE]


def _filled(values: list[float]) -> list[float]:
    return values + [NEUTRAL] * (N_EMOTIONS - len(values))
