"""Files that are no text are named; bytes that change the figures of a text are told."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ggufsurgeon.errors import UsageError
from ggufsurgeon.multiple_choice.task_files import read_tasks
from ggufsurgeon.multiple_choice.tasks import TaskFormat
from ggufsurgeon.scoring.text_sources.text_formats import notes_on_text
from ggufsurgeon.scoring.text_sources.texts import content_of
from tests.cli.failing import assert_told
from tests.conftest import Run

PROSE = "Before we proceed any further, hear me speak.\n" * 40
PAGE = b"\n<!DOCTYPE html>\n<html><body>" + b"<p>Welcome</p>" * 99
DENIED = b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code><Message>no</Message></Error>'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 1290590\n"
NO_TEXTS = [
    (DENIED, "an error message of a server (AccessDenied)"),
    (PAGE, "a web page (HTML)"),
    (b"<?xml version='1.0'?><feed>" + PROSE.encode(), "XML"),
    (b"Entry not found", "a message of a server (Entry not found)"),
    (b'{"error":"Repository not found"}', 'a message of a server ({"error":'),
    (b'{"detail": "Not Found"}\n', 'a message of a server ({"detail":'),
    (b'{"message":"API rate limit exceeded","documentation_url":"https"}', "a message of a server"),
    (b'{"error":{"message":"Invalid key","type":"auth"}}', "a message of a server"),
    (b"404 Not Found\n", "a message of a server (404 Not Found)"),
    (b"404: Not Found", "a message of a server (404: Not Found)"),
    (b"Error 403: Forbidden", "a message of a server (Error 403: Forbidden)"),
    (b"HTTP/1.1 429 Too Many Requests\r\n", "a message of a server (HTTP/1.1 429"),
    (b"PAR1" + bytes(99), "a Parquet table"),
    (b"PK\x03\x04" + bytes(99), "a zip archive"),
    (gzip.compress(PROSE.encode()), "gzip data"),
    (PROSE.encode("utf-16"), "UTF-16 text"),
    (PROSE.encode("utf-16-le"), "UTF-16LE text"),
    (PROSE.encode("utf-16-be"), "UTF-16BE text"),
    (PROSE.encode("utf-32"), "UTF-32 text"),
    (b"%PDF-1.7\n" + PROSE.encode(), "a PDF document"),
    (b"{\\rtf1\\ansi\\deff0 " + PROSE.encode() + b"}", "an RTF document"),
    (b"GGUF" + bytes(99), "a GGUF model"),
    (POINTER, "a Git LFS pointer"),
]


@pytest.mark.parametrize(("content", "name"), NO_TEXTS, ids=[name for _, name in NO_TEXTS])
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / "wiki.test.raw"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        content_of(path)
    assert str(caught.value).startswith(f"{path}: expected UTF-8 text, found {name}")
    assert caught.value.hint
    with pytest.raises(UsageError) as caught:
        read_tasks(path, TaskFormat.JSONL)
    assert str(caught.value).startswith(f"{path}: expected tasks, found {name}")


def test_it_is_told_before_a_model_is_loaded(stories: Path, tmp_path: Path, surgeon: Run) -> None:
    (tmp_path / "wiki.test.raw").write_bytes(DENIED)
    for command in (["perplexity", stories], ["scan", stories, "--store", "scan.db"]):
        done = surgeon(*command, "--text", "wiki.test.raw")
        assert_told(done, 2, "wiki.test.raw: expected UTF-8 text, found an error message")
    done = surgeon("choose", stories, "--tasks", "wiki.test.raw")
    assert_told(done, 2, "expected tasks, found an error message of a server (AccessDenied)")


@pytest.mark.parametrize("content", [PAGE, DENIED])
def test_markup_that_is_meant_is_read(tmp_path: Path, content: bytes) -> None:
    page = tmp_path / "page.HTML"
    page.write_bytes(content)
    assert content_of(page) == (content, [page])
    assert content_of(content) == (content, [])  # given by a program
    assert content_of(content_of(page)) == (content, [page])


@pytest.mark.parametrize(
    "content",
    [
        b"PARIS is a city",
        b"GG",
        b"Entry not found, said he",
        b"<p> of HTML",
        b"BZ",
        b"404 sheep went home",
        b'{"error": "timeout", "at": 1}\n{"error": null, "at": 2}',  # a log in JSON lines
        b'{"error": "' + b"A long story. " * 400 + b'"}',
        b'{"errors": 0, "lines": 12}',
        b"GGUF is a file format for models.",
        b"PAR1 is a magic number.",
        "GGUF ist ein Dateiformat f\u00fcr Sprachmodelle.".encode(),
        b"BZh is how bzip2 data begin.",
        b"%PDF- is how a PDF document begins.",
        b"{\\rtf is how an RTF document begins.",
        b"version https://git-lfs.github.com/spec/v1 is the first line of a pointer.",
    ],
)
@pytest.mark.parametrize("name", ["prose.txt", "log.jsonl", "log.json", "text"])
def test_texts_that_only_look_like_it(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert content_of(path) == (content, [path])


CHINESE = "\u5929\u5730\u7384\u9ec4".encode() * 30


@pytest.mark.parametrize(
    ("content", "says", "hint"),
    [
        (CHINESE[:-1], "cut in the middle of its last character, which begins at byte 357", "line"),
        (CHINESE[:-2], "cut in the middle of its last character", "whole download"),
        (b"He said \xe2\x80", "cut in the middle of its last character", "whole download"),
        (b"un caf\xe9", "not UTF-8 at byte 6", "iconv"),
        (CHINESE + b"\xe9 caf", "not UTF-8 at byte 360", "iconv"),
        (bytes(10_000), "10,000 bytes from byte 0 on are zero, as in an unfinished", "download"),
        (PROSE.encode() + bytes(99), "99 bytes from byte 1,840 on are zero", "download"),
        (b"To be\0, or not", "not a text: byte 5 is zero", "iconv"),
        (b"\n" * 30_000, "the text has only white space", ""),
        (b"", "the text is empty", ""),
    ],
)
def test_texts_that_are_broken(tmp_path: Path, content: bytes, says: str, hint: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        content_of(path)
    assert str(caught.value).startswith(f"{path}: ") and says in str(caught.value)
    assert hint in caught.value.hint


def test_line_ends_and_a_mark_are_noted() -> None:
    assert notes_on_text(PROSE.encode()) == []
    mark, ends = notes_on_text(b"\xef\xbb\xbfOne\r\ntwo\nthree\r\n")
    assert "byte order mark" in mark
    assert ends.startswith("2 of 3 lines end in CRLF")
    (ends,) = notes_on_text(b"One\rtwo\rthree\r")
    assert ends.startswith("its 3 lines end in CR alone")
    assert notes_on_text(b"A bar:\r 10 %\r 20 %\nDone") == []
    assert notes_on_text(b"One\r") == []  # a line in CRLF, without its last LF


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_a_note_on_line_ends_is_printed(
    stories: Path, tmp_path: Path, surgeon: Run, way: str
) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    (tmp_path / "dos.txt").write_bytes(PROSE.replace("\n", "\r\n").encode())
    options = ["--ctx", "64", "--chunks", "1", "--threads", "1"]
    with (tmp_path / "dos.txt").open() as stream:
        name = "dos.txt" if way == "file" else "-"
        done = surgeon("perplexity", stories, "-f", name, *options, stdin=stream)
    assert done.returncode == 0, done.stderr
    told = "dos.txt" if way == "file" else way
    assert f"{told}: 39 of 39 lines end in CRLF" in done.stderr
