"""Task files: JSON lines, and the three formats that llama-perplexity reads.

llama-perplexity reads malformed files up to the fault, or aborts; here they are refused, with the
place. Line numbers are of tools/perplexity/perplexity.cpp in llama.cpp of 2026-10-01.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ggufsurgeon.errors import UsageError
from ggufsurgeon.multiple_choice.tasks import Task, TaskFormat
from ggufsurgeon.scoring.text_sources.server_answers import format_of_answer
from ggufsurgeon.scoring.text_sources.text_formats import format_of_binary

MOST_PROBLEMS = 20
"""Malformed lines of a file that are told."""
MAX_CHOICES = 100
"""Most choices of a task, as in llama-perplexity (1298)."""
NAME_FORMAT = "name that as task_format"
"""What to do about another format; a command says it with its own option."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_TASK_LINES = 6
"""Lines of a hellaswag task."""
_WINOGRANDE = re.compile(r',((?:[^,"]|"[^"]*")*)' * 3 + r",(.*)")
"""The fields of a line after its index; a comma in quotes does not separate fields."""
_SURROGATES = re.compile("[\ud800-\udfff]")


class _Malformed(Exception):
    """A fault of a task file; the message says what is wrong and where in the file."""


def read_tasks(path: Path, task_format: TaskFormat) -> tuple[Task, ...]:
    """The tasks of a file, at least one.

    Raises UsageError, with the line or byte, when the file cannot be read or a task is malformed.
    """
    readers: dict[TaskFormat, Callable[[bytes], Iterator[Task]]] = {
        TaskFormat.JSONL: _jsonl,
        TaskFormat.HELLASWAG: _hellaswag,
        TaskFormat.WINOGRANDE: _winogrande,
        TaskFormat.MULTIPLE_CHOICE: _multiple_choice,
    }
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        tasks = tuple(readers[task_format](content))
    except _Malformed as error:
        other = format_of_binary(content) or format_of_answer(content, "")
        if other is not None:
            raise UsageError(
                f"{path}: expected tasks, found {other.name}", hint=other.hint_for_tasks
            ) from None
        hint = f"The file was read as {task_format.value}. If it has another format, {NAME_FORMAT}."
        raise UsageError(f"{path}, {error}", hint=hint) from None
    if not tasks:
        raise UsageError(f"{path}: the file contains no tasks")
    return tasks


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, from 1; the last one may lack its newline."""
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), 1):
        yield number, _decoded(number, line)


def _decoded(number: int, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise _Malformed(f"line {number}: byte {error.start} is not UTF-8") from None


def _jsonl(content: bytes) -> Iterator[Task]:
    """An object with question, choices, answer and optionally id on each line that is not blank.

    All lines that are malformed are told at the end. A byte order mark is no part of the tasks, as
    RFC 8259 (8.1) allows.
    """
    problems: list[str] = []
    content = content.removeprefix(BYTE_ORDER_MARK).removesuffix(b"\n")
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            text = _decoded(number, line)
            if text.strip():
                yield _json_task(number, text)
        except _Malformed as error:
            problems.append(str(error))
    if problems:
        raise _Malformed(told_together(problems))


def told_together(problems: Sequence[str]) -> str:
    """The problems of a file in one sentence, up to MOST_PROBLEMS of them."""
    more = len(problems) - MOST_PROBLEMS
    return "; ".join([*problems[:MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])])


def _json_task(number: int, line: str) -> Task:
    try:
        return _task_of(json.loads(line), str(number))
    except json.JSONDecodeError as error:
        raise _Malformed(f"line {number}, column {error.colno}: {error.msg}") from None
    except (_Malformed, RecursionError) as error:
        raise _Malformed(f"line {number}: {error}") from None


def _task_of(value: Any, number: str) -> Task:
    if not isinstance(value, dict):
        raise _Malformed("expected an object with question, choices and answer")
    question, choices, answer = (value.get(key) for key in ("question", "choices", "answer"))
    if any(map(_has_surrogate, [question, *(choices if isinstance(choices, list) else ())])):
        raise _Malformed("half of a surrogate pair (\\ud800 to \\udfff), which UTF-8 cannot encode")
    if not isinstance(question, str) or not _is_text(question):
        raise _Malformed("question is not a string, or is empty")
    if not isinstance(choices, list) or not all(map(_is_text, choices)):
        raise _Malformed("choices is not a list of non-empty strings")
    if not 2 <= len(choices) <= MAX_CHOICES:
        raise _Malformed(f"{len(choices)} choices; expected 2 to {MAX_CHOICES}")
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise _Malformed(f"answer is {answer!r}; expected an index from 0 to {len(choices) - 1}")
    return Task(str(value.get("id", number)), question, tuple(choices), answer)


def _is_text(value: Any) -> bool:
    """Whether a value is a string with more than white space."""
    return isinstance(value, str) and bool(value.strip())


def _has_surrogate(value: Any) -> bool:
    """Whether a string holds one half of a surrogate pair, as those of JSON can."""
    return isinstance(value, str) and _SURROGATES.search(value) is not None


def _hellaswag(content: bytes) -> Iterator[Task]:
    """Six lines for each task: context, label and four endings (735-745)."""
    lines = _unix_lines(content)
    if len(lines) % _TASK_LINES:
        raise _Malformed(f"line {len(lines)}: the file ends within a task, which has 6 lines")
    for first in range(0, len(lines), _TASK_LINES):
        question, label, *endings = lines[first : first + _TASK_LINES]
        for n, text in enumerate((question, *endings)):
            if not text.strip():
                raise _Malformed(f"line {first + 1 + n + (n > 0)}: the line is empty")
        if label.strip() not in ("0", "1", "2", "3"):
            raise _Malformed(f"line {first + 2}: the label is {label!r}; expected 0 to 3")
        yield Task(str(first // _TASK_LINES), question, tuple(endings), int(label))


def _winogrande(content: bytes) -> Iterator[Task]:
    """Index, sentence with a _, two choices, and 1 or 2 for the correct one (1012-1070).

    As in llama-perplexity, quotes around a sentence are removed, and doubled quotes stay doubled.
    """
    for number, line in enumerate(_unix_lines(content), 1):
        found = _WINOGRANDE.fullmatch(line, line.find(","))
        if found is None:
            raise _Malformed(f"line {number}: expected index,sentence,choice,choice,answer")
        sentence, *choices, answer = found.groups()
        if sentence.startswith('"'):
            sentence = sentence[1:-1]
        question, blank, rest = sentence.partition("_")
        if not blank:
            raise _Malformed(f"line {number}: the sentence has no _ for the choices")
        if not all(choice.strip() for choice in choices):
            raise _Malformed(f"line {number}: a choice is empty")
        if answer.strip() not in ("1", "2"):
            raise _Malformed(f"line {number}: the answer is {answer!r}; expected 1 or 2")
        index = line[: line.find(",")]
        yield Task(index, question, tuple(choices), int(answer) - 1, rest)


def _unix_lines(content: bytes) -> list[str]:
    """The lines. Raises _Malformed for CR LF and a byte order mark, content to llama-perplexity."""
    if not content:
        return []
    if content.startswith(BYTE_ORDER_MARK):
        raise _Malformed("line 1: it begins with a byte order mark; expected UTF-8 without")
    lines = list(_lines(content))
    for number, line in lines:
        if line.endswith("\r"):
            raise _Malformed(f"line {number}: it ends in CR LF; expected LF alone")
    return [line for _, line in lines]


def _multiple_choice(content: bytes) -> Iterator[Task]:
    """The number of tasks, the offset of each, then the tasks; 32-bit integers, little-endian.

    A task is a question, choices of which one is correct (mc1 of TruthfulQA), and choices of which
    several may be correct (mc2), which llama-perplexity does not score (1284-1318, 1391-1430).
    """
    reader = _Bytes(content)
    (n_tasks,) = reader.numbers("I", 1)
    reader.numbers("I", n_tasks)
    for n in range(n_tasks):
        at, question = reader.at, reader.text()
        choices, labels = reader.choices()
        reader.choices()
        if not question.strip() or not all(choice.strip() for choice in choices):
            raise _Malformed(f"at byte {at}: task {n} has an empty question or choice")
        if len(choices) < 2 or labels.count(1) != 1:
            raise _Malformed(
                f"at byte {at}: task {n} has {len(choices)} choices, "
                f"{labels.count(1)} of them correct; expected one of 2 or more"
            )
        yield Task(str(n), question, tuple(choices), labels.index(1))


class _Bytes:
    """Reads the values of a binary file one after the other; `at` is the offset of the next."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def numbers(self, kind: str, n: int) -> tuple[int, ...]:
        """`n` integers of four bytes; `kind` is I or i, as in the struct module."""
        return struct.unpack(f"<{n}{kind}", self._take(4 * n))

    def text(self) -> str:
        """A string of UTF-8, after its number of bytes."""
        at = self.at
        try:
            return self._take(self.numbers("I", 1)[0]).decode()
        except UnicodeDecodeError as error:
            raise _Malformed(f"at byte {at + 4 + error.start}: not UTF-8") from None

    def choices(self) -> tuple[list[str], tuple[int, ...]]:
        """Choices, after their number, and a label for each: 1 for correct, else 0."""
        at = self.at
        (n,) = self.numbers("I", 1)
        if n > MAX_CHOICES:
            raise _Malformed(f"at byte {at}: {n} choices; expected up to {MAX_CHOICES}")
        return [self.text() for _ in range(n)], self.numbers("i", n)

    def _take(self, n_bytes: int) -> bytes:
        start, self.at = self.at, self.at + n_bytes
        if self.at > len(self._content):
            raise _Malformed(
                f"at byte {start}: {n_bytes} bytes expected, the file ends at {len(self._content)}"
            )
        return self._content[start : self.at]
