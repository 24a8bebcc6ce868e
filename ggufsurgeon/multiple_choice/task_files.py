"""Task files: this program's JSON lines, and the three formats that llama-perplexity reads.

llama-perplexity takes malformed files as far as they go, or aborts; here they are refused with
the place. (tools/perplexity/perplexity.cpp of llama.cpp, of 2026-10-01.)
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ggufsurgeon.errors import UsageError
from ggufsurgeon.multiple_choice.tasks import Task, TaskFormat

MAX_CHOICES = 100
"""As many as llama-perplexity takes (perplexity.cpp:1298)."""

_TASK_LINES = 6
"""Lines of a hellaswag task."""
_WINOGRANDE = re.compile(r',((?:[^,"]|"[^"]*")*)' * 3 + r",(.*)")
"""What follows a line's index; commas in quotes separate nothing."""
_HALVES = re.compile("[\ud800-\udfff]")


class _Malformed(Exception):
    """What is wrong, and where in the file."""


def read_tasks(path: Path, task_format: TaskFormat) -> tuple[Task, ...]:
    """The tasks of a file. Raises UsageError, with the line or byte, unless all are whole."""
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
        hint = f"It was read as {task_format.value}; name another format if it is of another."
        raise UsageError(f"{path}, {error}", hint=hint) from None
    if not tasks:
        raise UsageError(f"{path}: there are no tasks in it")
    return tasks


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1; the last one may end in a newline or not."""
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), 1):
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            raise _Malformed(f"line {number}: byte {error.start} is not UTF-8") from None


def _jsonl(content: bytes) -> Iterator[Task]:
    for number, line in _lines(content):
        if not line.strip():
            continue
        try:
            yield _task_of(json.loads(line), str(number))
        except json.JSONDecodeError as error:
            raise _Malformed(f"line {number}, column {error.colno}: {error.msg}") from None
        except (_Malformed, RecursionError) as error:
            raise _Malformed(f"line {number}: {error}") from None


def _task_of(value: Any, number: str) -> Task:
    if not isinstance(value, dict):
        raise _Malformed("expected an object with question, choices and answer")
    question, choices, answer = (value.get(key) for key in ("question", "choices", "answer"))
    if not isinstance(question, str) or not _is_text(question):
        raise _Malformed("question is no text, or empty")
    if not isinstance(choices, list) or not all(map(_is_text, choices)):
        raise _Malformed("choices is no list of texts that are not empty")
    if not 2 <= len(choices) <= MAX_CHOICES:
        raise _Malformed(f"{len(choices)} choices; expected 2 to {MAX_CHOICES}")
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise _Malformed(f"answer is {answer!r}; expected an index from 0 to {len(choices) - 1}")
    return Task(str(value.get("id", number)), question, tuple(choices), answer)


def _is_text(value: Any) -> bool:
    """A JSON string can hold half of a surrogate pair, which is no text."""
    return isinstance(value, str) and bool(value.strip()) and not _HALVES.search(value)


def _hellaswag(content: bytes) -> Iterator[Task]:
    """Context, label and four endings, a line each (perplexity.cpp:738-745)."""
    lines = _unix_lines(content)
    if len(lines) % _TASK_LINES:
        raise _Malformed(f"line {len(lines)}: the file ends within a task, which has 6 lines")
    for first in range(0, len(lines), _TASK_LINES):
        question, label, *endings = lines[first : first + _TASK_LINES]
        for n, text in enumerate((question, *endings)):
            if not text.strip():
                raise _Malformed(f"line {first + 1 + n + (n > 0)}: it is empty")
        if label.strip() not in ("0", "1", "2", "3"):
            raise _Malformed(f"line {first + 2}: the label is {label!r}; expected 0 to 3")
        yield Task(str(first // _TASK_LINES), question, tuple(endings), int(label))


def _winogrande(content: bytes) -> Iterator[Task]:
    """Index, sentence with _, two choices, 1 or 2 (perplexity.cpp:1012-1070).

    As there, only the quotes around a sentence are taken off, and doubled ones stay doubled.
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
            raise _Malformed(f"line {number}: the sentence has no _ where the choices go")
        if not all(choice.strip() for choice in choices):
            raise _Malformed(f"line {number}: a choice is empty")
        if answer.strip() not in ("1", "2"):
            raise _Malformed(f"line {number}: the answer is {answer!r}; expected 1 or 2")
        index = line[: line.find(",")]
        yield Task(index, question, tuple(choices), int(answer) - 1, rest)


def _unix_lines(content: bytes) -> list[str]:
    if not content:
        return []
    lines = list(_lines(content))
    for number, line in lines:
        if line.endswith("\r"):
            raise _Malformed(f"line {number}: it ends in CR LF, and CR would count as text")
    return [line for _, line in lines]


def _multiple_choice(content: bytes) -> Iterator[Task]:
    """A count, a position for each task, then the tasks; u32, little endian.

    A task is a question, its answers with one that is right, and answers of which several may
    be, which nobody reads (perplexity.cpp:1284-1321, 1391-1430).
    """
    reader = _Bytes(content)
    (n_tasks,) = reader.numbers("I", 1)
    reader.numbers("I", n_tasks)
    for n in range(n_tasks):
        at, question = reader.at, reader.text()
        choices, labels = reader.answers()
        reader.answers()
        if not question.strip() or not all(choice.strip() for choice in choices):
            raise _Malformed(f"at byte {at}: task {n} has an empty question or choice")
        if len(choices) < 2 or labels.count(1) != 1:
            raise _Malformed(
                f"at byte {at}: task {n} has {len(choices)} choices, "
                f"{labels.count(1)} of them right; expected one of several"
            )
        yield Task(str(n), question, tuple(choices), labels.index(1))


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def numbers(self, kind: str, n: int) -> tuple[int, ...]:
        return struct.unpack(f"<{n}{kind}", self._take(4 * n))

    def text(self) -> str:
        at = self.at
        try:
            return self._take(self.numbers("I", 1)[0]).decode()
        except UnicodeDecodeError as error:
            raise _Malformed(f"at byte {at + 4 + error.start}: not UTF-8") from None

    def answers(self) -> tuple[list[str], tuple[int, ...]]:
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
