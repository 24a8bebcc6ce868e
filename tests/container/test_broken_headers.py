"""Messages about broken headers: short whatever a broken length makes of a name, with the cause
where the bytes tell it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.quoting import LONGEST, quoted
from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError
from tests.conftest import ROOT, Run

Write = Callable[..., Path]
STORIES = (ROOT / "fixtures/stories260K.gguf").read_bytes()
HEADER_N_BYTES = open_gguf(ROOT / "fixtures/stories260K.gguf").header_n_bytes
MOST_CHARACTERS = 600
IN_BINARY = "Its line ends were changed in transfer"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, HEADER_N_BYTES * 8 - 1))
@example(8 * 12513 + 5)  # in the length of a tensor's name
def test_a_flipped_bit_gives_a_short_message(write: Write, bit: int) -> None:
    data = bytearray(STORIES)
    data[bit // 8] ^= 1 << bit % 8
    path = write(bytes(data))
    try:
        message = str(gs.open(path).inspect().refusal)
        gs.open(path).plan(gs.repeat("1:2"))
    except GgufSurgeonError as error:
        message = f"{error}{error.hint}"
    assert len(message) < MOST_CHARACTERS + len(str(path)), message


def test_a_long_name_is_cut_in_its_message(write: Write) -> None:
    at = STORIES.index(b"blk.0.attn_norm.weight") - 7  # the second byte of its length
    path = write(STORIES[:at] + b"\x70" + STORIES[at + 1 :])
    with pytest.raises(MalformedFileError) as caught:
        open_gguf(path)
    assert "'blk.0.attn_norm.weight\\x01\\x00" in str(caught.value)
    assert len(str(caught.value)) < MOST_CHARACTERS + len(str(path))


@given(st.text(st.characters(codec="latin-1")) | st.lists(st.integers()))
def test_what_is_quoted_is_one_short_line(value: str | list[object]) -> None:
    text = quoted(value)  # type: ignore[arg-type]
    assert text.isprintable()
    assert len(text) <= 4 * LONGEST + len("''...")
    assert text == repr(value) or "..." in text


def test_a_download_in_text_mode_is_told_apart(write: Write, surgeon: Run, tmp_path: Path) -> None:
    write(STORIES.replace(b"\n", b"\r\n"))
    done = surgeon("inspect", "model.gguf")
    assert done.returncode == 3
    assert IN_BINARY in done.stderr and "binary mode" in done.stderr
    assert len(done.stderr) < MOST_CHARACTERS


@pytest.mark.parametrize("n_bytes", [60, 2000, 40_000])
def test_a_file_cut_short_has_its_own_line_ends(write: Write, n_bytes: int) -> None:
    with pytest.raises(MalformedFileError) as caught:
        open_gguf(write(STORIES[:n_bytes]))
    assert IN_BINARY not in caught.value.hint
