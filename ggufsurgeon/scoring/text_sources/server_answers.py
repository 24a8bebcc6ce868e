"""What a server sends in the place of a text: pages, messages of errors, pointers to the file."""

from __future__ import annotations

import json
import re
from http import HTTPStatus

from ggufsurgeon.scoring.text_sources.text_formats import WRITE_TASKS, OtherFormat

CHECK_ADDRESS = "The download failed: check its address."
DOWNLOAD = f"{CHECK_ADDRESS} The manual's page Measuring says where the text of wikitext-2 is."
MARKUP_SUFFIXES = (".html", ".htm", ".xhtml", ".xml", ".svg")
"""Suffixes of files that are meant to be markup, and are read as they are."""
ANSWER_N_BYTES = 4096
"""A longer file is no message of an error, whatever its first words are."""
LFS_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v\d+\n(.+\n)*oid sha256:")
LFS_N_BYTES = 1024
"""Pointers are shorter than this (git-lfs, docs/spec.md)."""
PHRASES = (
    "entry not found",  # Hugging Face
    "repository not found",
    "invalid username or password",
    "access denied",
    "rate limit exceeded",
    *(status.phrase.lower() for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST),
)
ERROR_KEYS = ("error", "errors", "detail", "message")
"""Keys of a JSON object of which a server's has one: OpenAI's and Hugging Face's, FastAPI's,
GitHub's."""
SHOWN = 60
"""Characters of an answer that a message shows."""
_STATUS = re.compile(r"(https?(/[\d.]+)? )?(error:? )?(?P<code>[45]\d\d)\W+(?P<phrase>.+)")
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z]+)</Code>")


def format_of_answer(content: bytes, suffix: str) -> OtherFormat | None:
    """What a server sent in the place of a text: a page, a message of an error, or a pointer.

    None for a text. `suffix` is that of the file's name.
    """
    if len(content) < LFS_N_BYTES and LFS_POINTER.match(content):
        pull = "Get the file: git lfs pull"
        return OtherFormat("a Git LFS pointer, not the file itself", pull, pull)
    start = content[:ANSWER_N_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if len(content) < ANSWER_N_BYTES and _is_error(start.decode("utf-8", "replace").strip()):
        words = " ".join(start[:SHOWN].decode("utf-8", "replace").split())
        return OtherFormat(f"a message of a server ({words})", DOWNLOAD, CHECK_ADDRESS)
    return None if suffix.lower() in MARKUP_SUFFIXES else _markup(start)


def _is_error(text: str) -> bool:
    """Whether a whole file is a message of an error: one JSON object, or one phrase."""
    if text.startswith("{"):
        return _is_error_object(text)
    words = text.lower().rstrip(".")
    status = _STATUS.fullmatch(words)
    return (status["phrase"] if status else words) in PHRASES


def _is_error_object(text: str) -> bool:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return any(isinstance(told.get(key), (str, dict, list)) for key in ERROR_KEYS)


def _markup(start: bytes) -> OtherFormat | None:
    if start.lower().startswith((b"<!doctype html", b"<html")):
        return OtherFormat("a web page (HTML)", DOWNLOAD, CHECK_ADDRESS)
    if start.startswith((b"<?xml", b"<Error>")):
        code = _ERROR_CODE.search(start)
        if code is not None:
            name = f"an error message of a server ({code[1].decode()})"
            return OtherFormat(name, DOWNLOAD, CHECK_ADDRESS)
        return OtherFormat("XML", f"To measure it as it is, name it .xml. {DOWNLOAD}", WRITE_TASKS)
    return None
