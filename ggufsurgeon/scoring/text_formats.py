"""Files that are given for a text and are none: failed downloads, archives, tables, encodings.

They would be read as some text or other, and give figures that mean nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DOWNLOAD = (
    "The download failed: check its address. The manual's page Measuring says where the text of "
    "wikitext-2 is."
)
UNPACK = "Unpack it, and give the text in it."
MARKUP_SUFFIXES = (".html", ".htm", ".xhtml", ".xml", ".svg")
"""Suffixes of files that are meant to be markup, and are read as they are."""
SERVER_TEXTS = (
    b"Entry not found",
    b"Invalid username or password.",
    b"Not Found",
    b"404: Not Found",
)
"""What servers of models and files answer in the place of a file."""
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z]+)</Code>")


class OtherFormat(NamedTuple):
    """What a file is, and what to do about it."""

    name: str
    hint: str


def _utf(name: str) -> OtherFormat:
    return OtherFormat(f"{name} text", f"Convert it: iconv -f {name} -t UTF-8 FILE > NEW_FILE")


SIGNATURES = {
    b"PAR1": OtherFormat(
        "a Parquet table", "Write its column of text to a file: llama-perplexity's texts are plain."
    ),
    b"ARROW1": OtherFormat("an Arrow table", "Write its column of text to a file."),
    b"PK\x03\x04": OtherFormat("a zip archive", UNPACK),
    b"\x1f\x8b": OtherFormat("gzip data", UNPACK),
    b"BZh": OtherFormat("bzip2 data", UNPACK),
    b"\xfd7zXZ\0": OtherFormat("xz data", UNPACK),
    b"\x28\xb5\x2f\xfd": OtherFormat("zstd data", UNPACK),
    b"7z\xbc\xaf\x27\x1c": OtherFormat("a 7z archive", UNPACK),
    b"%PDF-": OtherFormat("a PDF document", "Extract its text: pdftotext FILE NEW_FILE"),
    b"GGUF": OtherFormat("a GGUF model", "Give the model and the text each in its place."),
    b"_logits_": OtherFormat(
        "a file of saved logits", "Give it as the base logits of a measurement, beside a text."
    ),
    b"SQLite format 3\0": OtherFormat("an SQLite database", "A store of scores is no text."),
    b"\x89PNG": OtherFormat("a PNG image", "Only text can be measured."),
    b"version https://git-lfs.": OtherFormat(
        "a Git LFS pointer, not the file itself", "Get the file: git lfs pull"
    ),
    b"\xff\xfe\0\0": _utf("UTF-32"),
    b"\0\0\xfe\xff": _utf("UTF-32"),
    b"\xff\xfe": _utf("UTF-16"),
    b"\xfe\xff": _utf("UTF-16"),
}
"""How files of other formats begin; of two that fit, the first one counts."""
SAMPLE_N_BYTES = 4096


def format_of_binary(content: bytes) -> OtherFormat | None:
    """The format by its signature; None for a text, and for a format that is not known."""
    for signature, found in SIGNATURES.items():
        if content.startswith(signature):
            return found
    sample = content[:SAMPLE_N_BYTES]
    for first, name in ((0, "UTF-16BE"), (1, "UTF-16LE")):  # western text without a mark
        n_zero = sample[first::2].count(0)
        if n_zero > len(sample) / 4 and 0 not in sample[1 - first :: 2]:
            return _utf(name)
    return None


def format_of_answer(content: bytes, suffix: str) -> OtherFormat | None:
    """What a server answered in the place of a text: a page, or a message of an error.

    None for a text. `suffix` is that of the file's name.
    """
    start = content[:SAMPLE_N_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.strip() in SERVER_TEXTS or start.startswith(b'{"error":'):
        words = start[:60].decode("utf-8", "replace").strip()
        return OtherFormat(f"a message of a server ({words})", DOWNLOAD)
    if suffix.lower() in MARKUP_SUFFIXES:
        return None
    if start.lower().startswith((b"<!doctype html", b"<html")):
        return OtherFormat("a web page (HTML)", DOWNLOAD)
    if start.startswith((b"<?xml", b"<Error>")):
        code = _ERROR_CODE.search(start)
        if code is not None:
            return OtherFormat(f"an error message of a server ({code[1].decode()})", DOWNLOAD)
        return OtherFormat("XML", f"To measure it as it is, name it .xml. {DOWNLOAD}")
    return None


def notes_on_text(content: bytes) -> list[str]:
    """What a reader of figures on this text should know of its bytes, which are not changed."""
    notes = []
    if content.startswith(b"\xef\xbb\xbf"):
        notes.append("it begins with a byte order mark, which is measured too")
    n_ends = content.count(b"\r\n")
    if n_ends:
        notes.append(
            f"{n_ends:,} of {content.count(bytes([10])):,} lines end in CRLF, as on Windows; "
            "each CR is measured, as by llama-perplexity, so the figures are not those of the same "
            "text with LF"
        )
    return notes
