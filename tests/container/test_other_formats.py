"""Files that are no GGUF are named for what they are, with what to do."""

from __future__ import annotations

import gzip
import io
import json
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.container.other_files.archives import ENTRY
from ggufsurgeon.errors import MalformedFileError
from tests.models.builders import llama_model

Write = Callable[..., Path]


class File(NamedTuple):
    """A file, and what is said of it and of what to do."""

    what: str
    instead: str
    data: bytes


def archive(*names: str) -> bytes:
    """A zip archive of small files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as files:
        for name in names:
            files.writestr(name, llama_model(3))
    return packed.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064x\nsize %d\n"
PAGE = b"""
<!DOCTYPE html>
<html class="">
<head><meta charset="utf-8" />
<title>
 someone/Some-Model-GGUF at main \xc2\xb7 Hugging Face</title></head>
"""
DENIED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
MANIFEST = {
    "schemaVersion": 2,
    "layers": [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:aa"},
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:6a0746a1ec1a"},
    ],
}
IMATRIX = struct.pack("<ii", 210, 23) + b"blk.0.ffn_down.weight\0\0" + bytes(99)
PROGRAM = b"MZqFpD='\n" + bytes(5000)
RESOLVE = "has /resolve/ where that of its page has /blob/"

DOWNLOADS = [
    File("a Git LFS pointer to a file of 4,368,438,944 bytes", "git lfs pull",
         POINTER % (7, 4368438944)),
    File("a Git LFS pointer", "git lfs pull", POINTER[:41]),
    File("a web page titled 'someone/Some-Model-GGUF at main · Hugging Face'", RESOLVE, PAGE),
    File("a web page", RESOLVE, b"\xef\xbb\xbf<!-- saved --> <HTML><body>Sign in</body></HTML>"),
    File("text: 'Entry not found'", RESOLVE, b"Entry not found"),
    File("XML that begins '<?xml version", "needs a login first", DENIED),
    File("JSON with an error: 'Repository not found'", RESOLVE,
         b'{"error":"Repository not found"}'),
    File("JSON with an error: 'Invalid token'", RESOLVE, b'{"message": "Invalid token"}'),
    File("a manifest of Ollama", "blobs/sha256-6a0746a1ec1a", json.dumps(MANIFEST).encode()),
    File("a manifest of Ollama", "models/blobs", b'{"schemaVersion": 2, "layers": 7}'),
    File("an index of safetensors", "Convert its folder", b'{"weight_map": {}}'),
    File("(config.json)", "Convert its folder", b'{\n "architectures": ["LlamaForCausalLM"]}'),
    File("but JSON", "", b'[{"a": 1}]'),
    File("text that begins 'It was the best of times.", "", b"It was the best of times. " * 90),
    File("a file that begins with 4,096 zeros", "let it finish", bytes(9000)),
    File("a file that begins with 9 zeros", "let it finish", bytes(9)),
]  # fmt: skip
FORMATS = [
    File("safetensors weights", "Convert its folder",
         struct.pack("<Q", 9000) + b'{"__metadata__":{}}'),
    File("perhaps a PyTorch checkpoint", "Convert its folder", b"PK\x03\x04" + bytes(60)),
    File("but a PyTorch checkpoint", "Convert its folder", archive("model/data.pkl", "model/0")),
    File("a PyTorch checkpoint (pickle)", "Convert its folder", b"\x80\x02}q\0"),
    File("a pre-GGUF (ggml/ggjt) model", "Convert the original weights", b"tjgg" + bytes(60)),
    File("an importance matrix (imatrix)", "Quantize the model", IMATRIX),
    File("compressed with gzip", "Unpack it", gzip.compress(llama_model(3))),
    File("a llamafile: a program with llama 2.Q4_K_M.gguf inside",
         "unzip other.file 'llama 2.Q4_K_M.gguf'",
         PROGRAM + archive(".args", "llama 2.Q4_K_M.gguf")),
    File("a zip archive with m.gguf inside", "unzip other.file m.gguf", archive("m.gguf")),
    File("a llamafile that is incomplete", "Let the download finish", PROGRAM),
    File("a program for Windows", "", PROGRAM + archive("LICENSE")),
    File("a program for Windows", "", b"MZ\x90\0" + bytes(5000)),
    File("a GGUF whose magic is reversed", "GGUF in either byte order", b"FUGG" + bytes(60)),
    File("an SQLite database", "", b"SQLite format 3\0" + bytes(60)),
    File("a PNG picture", "", b"\x89PNG\r\n\x1a\n" + bytes(60)),
    File("saved logits of a model", "as the base logits", b"_logits_" + bytes(9)),
    File("a Parquet file", "", b"PAR1" + bytes(40)),
]  # fmt: skip


@pytest.mark.parametrize("file", DOWNLOADS + FORMATS, ids=lambda file: file.what)
def test_files_of_other_formats_are_told_what_to_do(file: File) -> None:
    with pytest.raises(MalformedFileError) as caught:
        parse_header(file.data, "other.file")
    assert "not a GGUF file but" in str(caught.value)
    assert file.what in str(caught.value)
    assert file.instead in caught.value.hint
    assert bool(file.instead) == bool(caught.value.hint)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_telling_other_formats_apart_never_crashes(data: bytes) -> None:
    for start in (b"\0", b"{", b"<", b"PK\x03\x04", b"MZ" + ENTRY):
        with pytest.raises(MalformedFileError):
            parse_header(start + data, "other")


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b'{"error": ' + b"9" * 9000])
def test_json_that_no_parser_likes(data: bytes) -> None:
    with pytest.raises(MalformedFileError, match="JSON"):
        parse_header(data, "other")


def test_a_page_of_comments_costs_no_time() -> None:
    with pytest.raises(MalformedFileError, match="XML"):
        parse_header(b"<!---->" * 140, "other")


def test_an_archive_of_endless_names_costs_no_time() -> None:
    start = time.perf_counter()
    with pytest.raises(MalformedFileError):
        parse_header(PROGRAM + ENTRY * 1_000_000, "other")
    assert time.perf_counter() - start < 5


def test_a_file_that_is_not_known_shows_how_it_begins() -> None:
    with pytest.raises(MalformedFileError, match=r"expected b'GGUF', found b'\\xf3\\x01ab'"):
        parse_header(b"\xf3\x01abc", "other")


def test_a_download_with_zeros_at_its_end_is_told_apart(write: Write) -> None:
    for n_bytes in (60, 300):
        path = write(llama_model(3)[:n_bytes] + bytes(9000))
        with pytest.raises(MalformedFileError) as caught:
            open_gguf(path)
        assert "The file ends in zeros" in caught.value.hint


def test_a_file_that_ends_early_may_be_an_incomplete_download(write: Write) -> None:
    for n_bytes in (0, 3, 60, len(llama_model(3)) - 40):
        with pytest.raises(MalformedFileError) as caught:
            open_gguf(write(llama_model(3)[:n_bytes]))
        if n_bytes != 3:  # that may be anything
            assert "The download may be incomplete" in caught.value.hint
