"""A task: a question, answers to choose from, and which is right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class TaskFormat(str, Enum):
    """Kinds of task files, which also say how their answers are scored."""

    JSONL = "jsonl"
    HELLASWAG = "hellaswag"
    WINOGRANDE = "winogrande"
    MULTIPLE_CHOICE = "multiple-choice"


@dataclass(frozen=True)
class Task:
    """One question."""

    id: str
    question: str
    """What stands in front of each choice."""
    choices: tuple[str, ...]
    answer: int
    """The index of the right choice."""
    rest: str = ""
    """What follows each choice: winogrande's sentences go on."""
