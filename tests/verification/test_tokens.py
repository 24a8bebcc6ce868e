"""Tokens: llama.cpp against SentencePiece, and a patched file against its source."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.conftest import ROOT, Run
from tests.models.builders import STRING, pair
from tests.models.expanding import expand

pytest.importorskip("llama_cpp", reason="needs the llama extra")
pytest.importorskip("sentencepiece", reason="needs the tokens extra")

from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.verification.checks import Check
from ggufsurgeon.verification.model_runs.model_run import shakespeare
from ggufsurgeon.verification.sentencepiece_tokens import tokens_by_sentencepiece
from ggufsurgeon.verification.tokens import Tokens, check_tokens, first_difference, read_text

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
ODD = "Äpfel, 日本語 🦙!\t\t x  y\r\n\n\n  z ▁ <s> </s> <0x41> \x00.".encode()
"""Of every kind: byte tokens, runs of spaces, what looks like a special token."""


def changed(stories: Path, key: str, index: int, value: bytes) -> bytes:
    """The file with one element of an array of 4 bytes each replaced."""
    data = bytearray(stories.read_bytes())
    held = open_gguf(stories).header.pair_of[key]
    at = data.index(held.raw) + held.value_at + 12 + 4 * index
    data[at : at + 4] = value
    return bytes(data)


def tokens_of(path: Path, text: bytes) -> Tokens | None:
    with loaded_model(path, Devices(), vocabulary_alone=True) as model:
        return read_text(model, text) if model.has_tokenizer else None


def checks(source: Path, patched: Path) -> dict[str, Check]:
    before, after = (tokens_of(path, shakespeare()) for path in (source, patched))
    found = check_tokens(open_gguf(source), before, after, shakespeare())
    return {check.name: check for check in found}


@pytest.mark.parametrize("text", [shakespeare(), ODD, b"x", b" leading", b""])
def test_sentencepiece_reads_as_llama_cpp_does(stories: Path, text: bytes) -> None:
    theirs = tokens_by_sentencepiece(stories, text)
    ours = tokens_of(stories, text)
    assert ours is not None
    assert first_difference(ours, theirs, text, "SentencePiece") == ""
    assert len(theirs) >= len(text) / 8


def test_where_tokens_end(stories: Path) -> None:
    """The space in front of a text is none of its bytes."""
    ours = tokens_of(stories, b"The ball.")
    assert ours is not None
    pieces = open_gguf(stories).header.get("tokenizer.ggml.tokens")
    assert isinstance(pieces, list)
    words = "".join(str(pieces[token]) for token in ours.ids[:-1])
    assert words == "\u2581The\u2581ball" and list(ours.ends[-2:]) == [8, 9]


def test_a_changed_score_is_found(stories: Path, write: Write) -> None:
    tokens = open_gguf(stories).header.get("tokenizer.ggml.tokens")
    assert isinstance(tokens, list)
    lowest = struct.pack("<f", -1e9)
    score = changed(stories, "tokenizer.ggml.scores", tokens.index("\u2581be"), lowest)
    found = checks(stories, write(score))
    for name, other in (("tokens", "the source"), ("tokenizer", "SentencePiece")):
        assert found[name].ok is False
        assert f", of {other} " in found[name].detail
        assert "the nobles bended" in found[name].detail


def test_the_first_difference_is_told_with_the_text_there() -> None:
    text = b"0123456789" * 10
    ours = Tokens(np.array([5, 6, 7, 8]), np.array([30, 60, 90, 100]))
    assert first_difference(ours, np.array([5, 6, 7, 8]), text, "X") == ""
    told = first_difference(ours, np.array([5, 6, 9, 8]), text, "X")
    assert told == f"token 2 is 7, of X 9, in {text[40:80].decode()!r} near byte 60"
    told = first_difference(ours, np.array([5, 6, 7]), text, "X")
    assert told == f"token 3 is 8, of X None, in {text[70:100].decode()!r} near byte 90"
    assert first_difference(ours, np.array([4]), text, "X").startswith("token 0 is 5, of X 4, in")


def test_a_vocabulary_that_sentencepiece_does_not_take(stories: Path, write: Write) -> None:
    unknown_is_control = changed(stories, "tokenizer.ggml.token_type", 0, struct.pack("<i", 3))
    file = write(unknown_is_control)
    found = checks(file, file)
    assert found["tokens"].ok and found["tokenizer"].ok is None
    assert "does not take its vocabulary: it has no unknown token" in found["tokenizer"].detail


def test_files_without_a_tokenizer_have_nothing_to_check(tmp_path: Path) -> None:
    header = (ROOT / "fixtures/arch_headers/llama-dense.gguf").read_bytes()
    longer = header.replace(
        pair("tokenizer.ggml.model", STRING, "test"),
        pair("tokenizer.ggml.model", STRING, "no_vocab"),
    )
    (tmp_path / "header.gguf").write_bytes(longer[: len(header)])  # padding shrinks
    file = expand(tmp_path / "header.gguf", tmp_path / "model.gguf", 0)
    assert checks(file, file) == {}


def test_what_the_source_has_too_is_not_blamed_on_the_patch(
    stories: Path, write: Write, tmp_path: Path, surgeon: Run
) -> None:
    """llama.cpp puts a space behind each user-defined token (src/llama-vocab.cpp:3453, 3468)."""
    tokens = open_gguf(stories).header.get("tokenizer.ggml.tokens")
    assert isinstance(tokens, list)
    letter = tokens.index("e")
    source = write(changed(stories, "tokenizer.ggml.token_type", letter, struct.pack("<i", 4)))
    patch(source, tmp_path / "patched.gguf", LayerPath.of([0, 1, 1, 2, 3, 4]))
    done = surgeon("verify", "patched.gguf", "--source", source, "--chunks", "1")
    assert done.returncode == 0
    assert re.search(r"tokens +ok .*\n *tokenizer +unproven ", done.stdout)
    assert "otherwise than SentencePiece" in done.stdout


def test_verify_without_sentencepiece_says_how_to_get_it(
    stories: Path, tmp_path: Path, surgeon: Run
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sentencepiece.py").write_text("raise ImportError('hidden')")
    paths = f"{tmp_path / 'hidden'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    patch(stories, tmp_path / "patched.gguf", LayerPath.of([0, 1, 1, 2, 3, 4]))
    arguments = ("verify", "patched.gguf", "--source", stories, "--chunks", "1")
    done = surgeon(*arguments, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    assert "pip install 'ggufsurgeon[tokens]'" in done.stdout
    assert re.search(r"tokens +ok ", done.stdout)
