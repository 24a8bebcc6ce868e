"""Task files: what is read, and that malformed ones are told with the place."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.errors import UsageError
from ggufsurgeon.multiple_choice.task_files import read_tasks
from ggufsurgeon.multiple_choice.tasks import Task, TaskFormat
from tests.cli.failing import assert_told
from tests.conftest import Run
from tests.multiple_choice.tasks import TASKS, as_multiple_choice

Write = Callable[..., Path]
ENDINGS = b"a\nb\nc\nd\n"
BINARY = as_multiple_choice(TASKS / "choices.jsonl")


def line(**changes: Any) -> bytes:
    task = {"question": "Q", "choices": ["a", "b"], "answer": 1} | changes
    return json.dumps({key: value for key, value in task.items() if value is not None}).encode()


def one(question: bytes = b"Q", labels: tuple[int, ...] = (0, 1), n: int | None = None) -> bytes:
    """A multiple-choice file of one task."""
    count = len(labels) if n is None else n
    answers = struct.pack("<I", count) + b"\1\0\0\0a" * len(labels)
    answers += struct.pack(f"<{len(labels)}i", *labels)
    return struct.pack("<III", 1, 8, len(question)) + question + answers + bytes(4)


MALFORMED = [
    ("jsonl", b"", "contains no tasks"),
    ("jsonl", b"\n \n", "contains no tasks"),
    ("jsonl", line() + b"\n{", "line 2, column 2: Expecting property name"),
    ("jsonl", line() + b"\n\xff", "line 2: byte 0 is not UTF-8"),
    ("jsonl", b"{\n" + line() + b"\n[1]\n\xff", "choices and answer; line 4: byte 0"),
    (
        "jsonl",
        b"{\n" * 30,
        "line 20, column 2: Expecting property name enclosed in double quotes; and 10",
    ),
    ("jsonl", b"[" * 100_000, "line 1: maximum recursion"),
    ("jsonl", b"[1]", "line 1: expected an object"),
    ("jsonl", line(question=None), "line 1: question is not a string"),
    ("jsonl", line(question=" "), "line 1: question is not a string, or is empty"),
    ("jsonl", line(question="\ud800"), "line 1: half of a surrogate pair"),
    ("jsonl", line(choices="ab"), "line 1: choices is not a list of non-empty strings"),
    ("jsonl", line(choices=["a", ""]), "line 1: choices is not a list of non-empty strings"),
    ("jsonl", line(choices=["a"], answer=0), "line 1: 1 choices; expected 2 to 100"),
    ("jsonl", line(choices=["a"] * 101), "line 1: 101 choices"),
    ("jsonl", line(answer=2), "line 1: answer is 2; expected an index from 0 to 1"),
    ("jsonl", line(answer=-1), "line 1: answer is -1"),
    ("jsonl", line(answer=True), "line 1: answer is True"),
    ("jsonl", line(answer=None), "line 1: answer is None"),
    ("hellaswag", b"", "contains no tasks"),
    ("hellaswag", b"C\n1\n" + ENDINGS + b"C\n1\n", "line 8: the file ends within a task"),
    ("hellaswag", b"C\n4\n" + ENDINGS, "line 2: the label is '4'; expected 0 to 3"),
    ("hellaswag", b"C\nx\n" + ENDINGS, "line 2: the label is 'x'"),
    ("hellaswag", b"C\n1\na\nb\n\nd\n", "line 5: the line is empty"),
    ("hellaswag", b"\n1\n" + ENDINGS, "line 1: the line is empty"),
    ("hellaswag", b"C\r\n1\r\na\r\nb\r\nc\r\nd\r\n", "line 1: it ends in CR LF"),
    ("hellaswag", b"\xef\xbb\xbfC\n1\n" + ENDINGS, "line 1: it begins with a byte order mark"),
    ("winogrande", b"\xef\xbb\xbf0,a _ b.,x,y,1\n", "line 1: it begins with a byte order mark"),
    ("hellaswag", b"C\n1\na\nb\n\xe4\nd\n", "line 5: byte 0 is not UTF-8"),
    ("winogrande", b"", "contains no tasks"),
    ("winogrande", b"0,a _ b.,x,y,1\n\n", "line 2: expected index,sentence"),
    ("winogrande", b"0,a _ b.,x,1\n", "line 1: expected index,sentence"),
    ("winogrande", b'0,"a _ b.,x,y,1\n', "line 1: expected index,sentence"),
    ("winogrande", b"0,a b.,x,y,1\n", "line 1: the sentence has no _"),
    ("winogrande", b"0,a _ b.,x,,1\n", "line 1: a choice is empty"),
    ("winogrande", b"0,a _ b.,x,y,3\n", "line 1: the answer is '3'; expected 1 or 2"),
    ("winogrande", b"0,a _ b.,x,y,z,1\n", "line 1: the answer is 'z,1'"),
    ("multiple-choice", b"", "at byte 0: 4 bytes expected, the file ends at 0"),
    ("multiple-choice", bytes(4), "contains no tasks"),
    ("multiple-choice", b"\xff" * 8, "at byte 4: 17179869180 bytes expected"),
    ("multiple-choice", BINARY[:-1], f"the file ends at {len(BINARY) - 1}"),
    ("multiple-choice", one(b"\xe4"), "at byte 12: not UTF-8"),
    ("multiple-choice", one(b""), "at byte 8: task 0 has an empty question"),
    ("multiple-choice", one(labels=(1,)), "task 0 has 1 choices, 1 of them correct"),
    ("multiple-choice", one(labels=(1, 1)), "task 0 has 2 choices, 2 of them correct"),
    ("multiple-choice", one(labels=(0, 0)), "task 0 has 2 choices, 0 of them correct"),
    ("multiple-choice", one(n=101), "at byte 13: 101 choices"),
]


@pytest.mark.parametrize(("kind", "content", "says"), MALFORMED)
def test_malformed(write: Write, kind: str, content: bytes, says: str) -> None:
    path = write(content, "tasks")
    with pytest.raises(UsageError) as error:
        read_tasks(path, TaskFormat(kind))
    assert says in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize("n_bytes", range(0, len(BINARY), 97))
def test_every_truncation_is_told(write: Write, n_bytes: int) -> None:
    with pytest.raises(UsageError, match=f"the file ends at {n_bytes}"):
        read_tasks(write(BINARY[:n_bytes], "mc.bin"), TaskFormat.MULTIPLE_CHOICE)


def test_the_binary_format_holds_what_json_lines_do(write: Write) -> None:
    def plain(tasks: tuple[Task, ...]) -> list[tuple[object, ...]]:
        return [(task.question, task.choices, task.answer) for task in tasks]

    binary = read_tasks(write(BINARY, "mc.bin"), TaskFormat.MULTIPLE_CHOICE)
    assert plain(binary) == plain(read_tasks(TASKS / "choices.jsonl", TaskFormat.JSONL))


def test_winogrande_sentences_may_have_commas_in_quotes(write: Write) -> None:
    path = write(b'7,"He said ""hi, _"", and left.",Tom,Ben,2', "wg.csv")
    (task,) = read_tasks(path, TaskFormat.WINOGRANDE)
    said = 'He said ""hi, '
    assert task == Task("7", said, ("Tom", "Ben"), 1, '"", and left.')


def test_a_byte_order_mark_is_no_part_of_json(write: Write) -> None:
    path = write(b"\xef\xbb\xbf" + line() + b"\r\n" + line(answer=0) + b"\r\n", "tasks.jsonl")
    assert [task.answer for task in read_tasks(path, TaskFormat.JSONL)] == [1, 0]


def test_a_task_may_have_the_keys_of_an_error(write: Write) -> None:
    path = write(line(message="easy", error="none"), "tasks.jsonl")
    assert len(read_tasks(path, TaskFormat.JSONL)) == 1


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"C\n1\n" + ENDINGS, "If it has another format, name that as task_format."),
        (b"PAR1" + bytes(99), "Tasks are lines of JSON with question, choices and answer"),
        (b"GGUF" + bytes(99), "Give the model and the tasks each in its place."),
        (b"404: Not Found", "The download failed: check its address."),
        (b"<!doctype html><p>", "The download failed: check its address."),
    ],
)
def test_hints_speak_of_tasks(write: Write, content: bytes, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_tasks(write(content, "tasks.jsonl"), TaskFormat.JSONL)
    assert hint in caught.value.hint and "wikitext" not in caught.value.hint


def test_the_program_names_its_own_options(stories: Path, write: Write, surgeon: Run) -> None:
    path = write(b"C\n1\n" + ENDINGS, "hellaswag.txt")
    says = "If it has another format, name that with --format."
    assert_told(surgeon("choose", stories, "--tasks", path), 2, says)
    says = "If it has another format, ggufsurgeon choose reads it; a scan reads lines of JSON alone"
    assert_told(surgeon("scan", stories, "--choices", path, "--store", "scan.db"), 2, says)


def test_the_program_says_so(stories: Path, write: Write, surgeon: Run) -> None:
    bad = write(line(answer=7), "bad.jsonl")
    assert_told(surgeon("choose", stories, "--tasks", bad), 2, "line 1: answer is 7")
    gone = surgeon("choose", stories, "--tasks", "absent.jsonl")
    assert_told(gone, 2, "cannot be read: No such file")
