"""Where a text comes from: a file, a folder of them, or standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.errors import UsageError
from ggufsurgeon.scoring.text_sources.server_answers import format_of_answer
from ggufsurgeon.scoring.text_sources.text_formats import OtherFormat, format_of_binary, is_cut

SUFFIXES = (".txt", ".md")
"""Suffixes of the files of a folder that are read."""
UNFINISHED_N_ZEROS = 16
"""A run of zero bytes of this length is space that was reserved, not a character."""


class Text(NamedTuple):
    """A text that has been read: a pipe, for one, can be read but once."""

    content: bytes
    files: list[Path]
    """The files that it was read from, without standard input."""


def content_of(text: str | os.PathLike[str] | bytes | Text) -> Text:
    """The bytes of a text, and the files that they were read from.

    `text` is a file, a folder, `-` for standard input, the bytes themselves, or what this returned.
    """
    if isinstance(text, Text):
        return text
    if isinstance(text, bytes):
        check_text(text, "the text")
        return Text(text, [])
    files = text_files(Path(text))
    return Text(read_texts(files), [file for file in files if file != Path("-")])


def text_files(path: Path) -> list[Path]:
    """The file itself, or the texts in a folder, by name; not those in folders within.

    Raises UsageError when the folder has none or cannot be read.
    """
    if not path.is_dir():
        return [path]
    try:
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if not found:
        raise UsageError(f"{path}: the folder has no file that ends in {' or '.join(SUFFIXES)}")
    return found


def read_texts(paths: Sequence[Path]) -> bytes:
    """The texts of files, one after the other, a newline between them; `-` is standard input.

    One newline at the end of each is left out, as llama-perplexity does. Raises UsageError when
    one cannot be read, or is no text, or what a server answers in the place of a file, and when
    all are empty.
    """
    text = b"\n".join(_read(path) for path in paths)
    if not text.strip():
        what = "has only white space" if text else "is empty"
        raise UsageError(f"{', '.join(map(_name, paths))}: the text {what}")
    return text


def _read(path: Path) -> bytes:
    try:
        content = _standard_input() if path == Path("-") else path.read_bytes()
    except OSError as error:
        raise UsageError(f"{_name(path)}: cannot be read: {error.strerror}") from None
    check_text(content, _name(path))
    _refuse(format_of_answer(content, path.suffix), _name(path))
    return content.removesuffix(b"\n")


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise UsageError("standard input: it is closed")
    return sys.stdin.buffer.read()


def _name(path: Path) -> str:
    return "standard input" if path == Path("-") else str(path)


def check_text(content: bytes, name: str) -> None:
    """Raises UsageError when `content` is not UTF-8, or has a zero byte as only binaries do."""
    _refuse(format_of_binary(content), name)
    hint = "A text must be UTF-8; convert other encodings with iconv."
    if b"\0" in content:
        _refuse_zeros(content, name, hint)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        if is_cut(error):
            raise UsageError(
                f"{name}: the text is cut in the middle of its last character, which begins at "
                f"byte {error.start:,}",
                hint="Measure the whole download, or cut the text at the end of a line.",
            ) from None
        raise UsageError(f"{name}: not UTF-8 at byte {error.start}", hint=hint) from None


def _refuse_zeros(content: bytes, name: str, hint: str) -> None:
    at = content.index(b"\0")
    rest = content[at:]
    n_zeros = len(rest) - len(rest.lstrip(b"\0"))
    if n_zeros < UNFINISHED_N_ZEROS:
        raise UsageError(f"{name}: not a text: byte {at} is zero", hint=hint)
    raise UsageError(
        f"{name}: not a text: {n_zeros:,} bytes from byte {at:,} on are zero, as in an unfinished "
        "download",
        hint="Let the download finish, or download the text again.",
    )


def _refuse(found: OtherFormat | None, name: str) -> None:
    if found is not None:
        raise UsageError(f"{name}: expected UTF-8 text, found {found.name}", hint=found.hint)
