"""Files of questions for the scores of dnhkng/RYS.

Each is JSON in UTF-8: a list of objects, or one object that has them by their names. Questions of
arithmetic have

    {"question": "What is the square root of 1522756?", "answer": 1234}

and those of emotions

    {"prompt": "... Give each of these possible emotions a score from 0-10 ...",
     "reference": [0, 7, 3.5, 1]}

where `answer` is an integer of 0 or more, as a number or as a string of its digits, and `reference`
has four numbers from 0 to 10. In place of `reference`, as in the files of EQ-Bench v2, there may be
`reference_answer`, or else `reference_answer_fullscale`: an object with these numbers as
`emotion1_score` to `emotion4_score`. Other keys are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ggufsurgeon.errors import UsageError
from ggufsurgeon.multiple_choice.task_files import told_together

N_EMOTIONS = 4
LARGEST_SCORE = 10
MAX_DIGITS = 4300
"""Digits of the longest integer that Python reads."""
_OF_EQ_BENCH = ("reference_answer", "reference_answer_fullscale")
"""The first that a question has is the one that RYS takes."""

T = TypeVar("T")


@dataclass(frozen=True)
class MathQuestion:
    """A question whose answer is an integer."""

    name: str
    question: str
    answer: str
    """Its digits."""


@dataclass(frozen=True)
class EmotionQuestion:
    """A question for the intensities of four emotions."""

    name: str
    prompt: str
    reference: tuple[float, ...]
    """The intensities, 0 to 10, in the order that the prompt has the emotions in."""


class _Malformed(Exception):
    """A fault of a question; the message says what is wrong with it."""


def read_math_questions(path: Path) -> tuple[MathQuestion, ...]:
    """The questions of a file. Raises UsageError, with the entries, for malformed ones."""
    return _read(path, _math_question)


def read_emotion_questions(path: Path) -> tuple[EmotionQuestion, ...]:
    """The questions of a file. Raises UsageError, with the entries, for malformed ones."""
    return _read(path, _emotion_question)


def _read(path: Path, question_of: Callable[[str, Mapping[str, Any]], T]) -> tuple[T, ...]:
    """The questions of all entries. Those that are malformed are told together."""
    found, problems = [], []
    for name, entry in _entries(path):
        try:
            if not isinstance(entry, dict):
                raise _Malformed("expected an object")
            found.append(question_of(name, entry))
        except _Malformed as error:
            problems.append(f"entry {name}: {error}")
    if problems:
        raise UsageError(f"{path}, {told_together(problems)}")
    return tuple(found)


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """The entries with their names; those of a list are counted from 1."""
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{path}, {where}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, list | dict) or not content:
        raise UsageError(f"{path}: expected a list of questions, or an object that names them")
    if isinstance(content, dict):
        yield from content.items()
    else:
        yield from ((str(number), entry) for number, entry in enumerate(content, 1))


def _math_question(name: str, entry: Mapping[str, Any]) -> MathQuestion:
    answer = entry.get("answer")
    digits = str(answer) if type(answer) is int else answer
    if not isinstance(digits, str) or not (digits.isascii() and digits.isdigit()):
        raise _Malformed(f"answer is {answer!r}; expected an integer of 0 or more")
    if len(digits) > MAX_DIGITS:
        raise _Malformed(f"answer has {len(digits)} digits; expected up to {MAX_DIGITS}")
    return MathQuestion(name, _text(entry, "question"), str(int(digits)))


def _emotion_question(name: str, entry: Mapping[str, Any]) -> EmotionQuestion:
    return EmotionQuestion(name, _text(entry, "prompt"), _reference(entry))


def _reference(entry: Mapping[str, Any]) -> tuple[float, ...]:
    key = next((key for key in _OF_EQ_BENCH if key in entry), None)
    if (key is None) == ("reference" not in entry):
        raise _Malformed("expected either reference or reference_answer")
    values = entry.get("reference")
    if key is not None:
        answers = entry[key]
        if not isinstance(answers, dict):
            raise _Malformed(f"{key} is not an object with emotion1_score to emotion4_score")
        values = [answers.get(f"emotion{n}_score") for n in range(1, N_EMOTIONS + 1)]
    if not isinstance(values, list) or len(values) != N_EMOTIONS or not all(map(_is_score, values)):
        raise _Malformed(f"{key or 'reference'}: expected four numbers from 0 to {LARGEST_SCORE}")
    return tuple(map(float, values))


def _is_score(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= LARGEST_SCORE


def _text(entry: Mapping[str, Any], key: str) -> str:
    text = entry.get(key)
    if not isinstance(text, str) or not text.strip():
        raise _Malformed(f"{key} is not a string, or is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Malformed(f"{key} has half of a surrogate pair, which UTF-8 has not") from None
    return text
