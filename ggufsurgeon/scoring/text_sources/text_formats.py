"""Files that are given for a text and are none: archives, tables, encodings.

They would be read as some text or other, and give figures that mean nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

UNPACK = "Unpack it, and give the file in it."
WRITE_TASKS = (
    "Tasks are lines of JSON with question, choices and answer, or a llama-perplexity format."
)


class OtherFormat(NamedTuple):
    """What a file is, and what to do about it where a text was expected."""

    name: str
    hint: str
    hint_for_tasks: str
    """What to do where tasks were expected."""


def _archive(name: str) -> OtherFormat:
    return OtherFormat(name, UNPACK, UNPACK)


def _no_text(name: str, hint: str) -> OtherFormat:
    return OtherFormat(name, hint, WRITE_TASKS)


def _utf(name: str) -> OtherFormat:
    hint = f"Convert it: iconv -f {name} -t UTF-8 FILE > NEW_FILE"
    return OtherFormat(f"{name} text", hint, hint)


SIGNATURES = {
    b"PAR1": _no_text("a Parquet table", "Write its column of text to a file of plain text."),
    b"ARROW1": _no_text("an Arrow table", "Write its column of text to a file of plain text."),
    b"PK\x03\x04": _archive("a zip archive"),
    b"\x1f\x8b": _archive("gzip data"),
    b"BZh": _archive("bzip2 data"),
    b"\xfd7zXZ\0": _archive("xz data"),
    b"\x28\xb5\x2f\xfd": _archive("zstd data"),
    b"7z\xbc\xaf\x27\x1c": _archive("a 7z archive"),
    b"GGUF": OtherFormat(
        "a GGUF model",
        "Give a plain text file as the text.",
        "Give the model and the tasks each in its place.",
    ),
    b"_logits_": _no_text(
        "a file of saved logits", "Give it as the base logits of a measurement, beside a text."
    ),
    b"SQLite format 3\0": _no_text("an SQLite database", "A store of scores is no text."),
    b"\x89PNG": _no_text("a PNG image", "Only text can be measured."),
    b"\xff\xfe\0\0": _utf("UTF-32"),
    b"\0\0\xfe\xff": _utf("UTF-32"),
    b"\xff\xfe": _utf("UTF-16"),
    b"\xfe\xff": _utf("UTF-16"),
}
"""How binary files begin; of two that fit, the first one counts. A text may begin so too."""
DOCUMENTS = {
    re.compile(rb"%PDF-\d\.\d[\r\n]"): _no_text(
        "a PDF document", "Extract its text: pdftotext FILE NEW_FILE"
    ),
    re.compile(rb"\{\\rtf\d*\\[a-z]"): _no_text(
        "an RTF document", "Save it as plain text in UTF-8, with the program that wrote it."
    ),
}
"""How documents begin that may be text throughout, and have more commands than words."""
SAMPLE_N_BYTES = 4096
CR_IS_MEASURED = (
    "each CR is measured, as by llama-perplexity, so the figures are not those of the same text "
    "with LF"
)


def format_of_binary(content: bytes) -> OtherFormat | None:
    """The format by its signature; None for a text, and for a format that is not known."""
    for start, document in DOCUMENTS.items():
        if start.match(content):
            return document
    for signature, found in SIGNATURES.items():
        if content.startswith(signature) and not _is_text(content):
            return found
    sample = content[:SAMPLE_N_BYTES]
    for first, name in ((0, "UTF-16BE"), (1, "UTF-16LE")):  # western text without a mark
        n_zero = sample[first::2].count(0)
        if n_zero > len(sample) / 4 and 0 not in sample[1 - first :: 2]:
            return _utf(name)
    return None


def _is_text(content: bytes) -> bool:
    """Whether all is UTF-8 without zero bytes, up to a last character that may be cut."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return is_cut(error) and b"\0" not in content
    return b"\0" not in content


def is_cut(error: UnicodeDecodeError) -> bool:
    """Whether the bytes are UTF-8 up to their last character, which lacks bytes.

    A single byte at the end, of a text that has no other character beyond ASCII, may as well be a
    letter of another encoding.
    """
    tail, before = error.object[error.start :], error.object[: error.start]
    return error.reason == "unexpected end of data" and (len(tail) > 1 or not before.isascii())


def notes_on_text(content: bytes) -> list[str]:
    """What a reader of figures on this text should know of its bytes, which are not changed."""
    notes = []
    if content.startswith(b"\xef\xbb\xbf"):
        notes.append("it begins with a byte order mark, which is measured too")
    n_ends, n_lines = content.count(b"\r\n"), content.count(b"\n")
    if n_ends:
        notes.append(
            f"{n_ends:,} of {n_lines:,} lines end in CRLF, as on Windows; {CR_IS_MEASURED}"
        )
    elif b"\r" in content[:-1] and not n_lines:
        n_lines = content.count(b"\r")
        notes.append(f"its {n_lines:,} lines end in CR alone, as on old Macs; {CR_IS_MEASURED}")
    return notes
