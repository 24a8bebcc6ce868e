"""Multiple-choice tasks: a question, its choices, and which choice is correct."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ggufsurgeon.errors import UsageError


class TaskFormat(str, Enum):
    """Formats of task files. The format also selects how choices are scored.

    JSONL is scored as lm-eval scores multiple choice, the others as llama-perplexity does.
    """

    JSONL = "jsonl"
    HELLASWAG = "hellaswag"
    WINOGRANDE = "winogrande"
    MULTIPLE_CHOICE = "multiple-choice"

    @classmethod
    def _missing_(cls, value: object) -> TaskFormat:
        known = ", ".join(one.value for one in cls)
        raise UsageError(f"no task format has the name {value}; the formats are {known}")


@dataclass(frozen=True)
class Task:
    """A question with several choices."""

    id: str
    question: str
    """The text before each choice."""
    choices: tuple[str, ...]
    answer: int
    """The index of the correct choice."""
    rest: str = ""
    """The text after each choice: that of a winogrande sentence."""
